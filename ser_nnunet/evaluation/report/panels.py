"""A case's images as data for the report's template: one grey image, and outlines that the page colours."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ser_nnunet.evaluation.report.views import View, find_outlines


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        method: whose outlines it shows, "" for none.
        view_box: the part shown, as `x y width height` in mm.
        reference: class name -> SVG path in pixels, of the classes that are in the slice.
        prediction: the same.
    """

    method: str
    view_box: str
    reference: Mapping[str, str]
    prediction: Mapping[str, str]


@dataclass(frozen=True)
class CasePanels:
    """All panels of a case.

    Attributes:
        case: its name.
        where: of the slice.
        image: PNG as a data URI.
        columns: pixels.
        rows: pixels.
        scale: mm per column and per row, as SVG's `scale(...)` takes them.
        frame: the zoomed window's x, y, width and height in mm.
        panels: the overview first, then a zoom per method.
    """

    case: str
    where: str
    image: str
    columns: int
    rows: int
    scale: str
    frame: tuple[float, float, float, float]
    panels: list[Panel]


def make_panels(view: View) -> CasePanels:
    """Return the panels of a view: an overview, and a zoom per method."""
    rows, columns = view.image.shape
    row_mm, column_mm = view.spacing
    row_window, column_window = view.window
    frame = (
        column_window.start * column_mm,
        row_window.start * row_mm,
        (column_window.stop - column_window.start) * column_mm,
        (row_window.stop - row_window.start) * row_mm,
    )
    whole = _format_box((0, 0, columns * column_mm, rows * row_mm))
    reference = outlines_to_svg(view.reference)
    zooms = [
        Panel(method, _format_box(frame), reference, outlines_to_svg(masks))
        for method, masks in view.predictions.items()
    ]
    return CasePanels(
        view.case,
        view.where,
        encode_png(view.image),
        columns,
        rows,
        f"{column_mm:.6g} {row_mm:.6g}",
        frame,
        [Panel("", whole, {}, {}), *zooms],
    )


def outlines_to_svg(masks: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return the outlines of every class in the slice as an SVG path in pixels."""
    paths = {
        name: "".join("M" + "L".join(f"{x:.4g} {y:.4g}" for x, y in line) + "Z" for line in find_outlines(mask))
        for name, mask in masks.items()
    }
    return {name: path for name, path in paths.items() if path}


def encode_png(image: np.ndarray) -> str:
    """Return grey values in [0, 1] as a PNG in a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(np.round(image * 255).astype(np.uint8)).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _format_box(box: tuple[float, float, float, float]) -> str:
    return " ".join(f"{value:.6g}" for value in box)
