"""Cases as an image file: the slice, the outlines of reference and prediction in it, and their Dice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.report.cases import select_evenly
from ser_nnunet.evaluation.report.colours import class_colour
from ser_nnunet.evaluation.report.views import View, find_outlines, view_evaluated_case
from ser_nnunet.evaluation.result import Evaluation
from ser_nnunet.utils.figures import own_style
from ser_nnunet.utils.files import replacing


class Palette(NamedTuple):
    """Colours of reference and prediction; the prediction's outline is dashed, so that it differs without colour."""

    reference: str
    prediction: str


DASHED = (0, (3, 1.5))  # offset, and points on and off
PALETTES = {
    "red-blue": Palette("#ff3b30", "#3d9bff"),
    "colour-blind": Palette("#e69f00", "#56b4e9"),  # Okabe and Ito's orange and sky blue
    "black-white": Palette("#ffffff", "#000000"),
}
CLASSES = "classes"  # the palette that distinguishes classes by colour, reference and prediction by dashes alone


def draw_cases(
    evaluation: Evaluation,
    file: Path,
    *,
    cases: Sequence[str] | int = 3,
    palette: str | None = None,
    dpi: int = 150,
) -> Path:
    """Draw cases, one row each: the slice with most disagreement, and its zoom with the outlines of every method.

    Args:
        evaluation: of `evaluate`; the evaluated files must still exist.
        file: to write; its ending chooses the format, such as .png or .pdf.
        cases: names, or how many, at evenly spaced ranks of mean Dice.
        palette: one of `PALETTES`, or `classes` for a colour per class; None takes `red-blue` for a single class and
            `classes` for several.
        dpi: pixels per inch; a row is 3 inches high.

    Returns:
        `file`.

    Raises:
        UserError: an unknown case or palette, or files that no longer exist.
    """
    palette = palette or (CLASSES if len(evaluation.classes) > 1 else "red-blue")
    if palette not in (*PALETTES, CLASSES):
        raise UserError(f"no palette {palette!r}; there are {', '.join((*PALETTES, CLASSES))}")
    if palette == CLASSES:
        colours = {name: Palette(*[class_colour(place)] * 2) for place, name in enumerate(evaluation.classes)}
    else:
        colours = dict.fromkeys(evaluation.classes, PALETTES[palette])
    names = select_evenly(evaluation, cases) if isinstance(cases, int) else list(cases)
    views = [view_evaluated_case(evaluation, name) for name in names]
    file = Path(file)
    with own_style({"text.parse_math": False}), replacing(file) as unfinished:  # names are no formulas
        _draw_figure(evaluation, views, colours).savefig(unfinished, dpi=dpi)
    return file


def _draw_figure(evaluation: Evaluation, views: Sequence[View], colours: Mapping[str, Palette]) -> Figure:
    columns = 1 + len(evaluation.methods)
    figure = Figure(figsize=(3.0 * columns, 3.0 * len(views) + 0.5), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for row, view in zip(figure.subplots(len(views), columns, squeeze=False), views, strict=True):
        draw_overview(row[0], view)
        for axes, method in zip(row[1:], evaluation.methods, strict=True):
            draw_zoom(axes, view, method, colours)
            heading = f"{method}\n" if columns > 2 else ""
            axes.set_title(heading + describe_dice(evaluation, view.case, method), fontsize=8)
    by_class = len(set(colours.values())) > 1
    line = Palette("white", "white") if by_class else next(iter(colours.values()))
    handles = [
        Line2D([], [], color=line.reference, label="reference"),
        Line2D([], [], color=line.prediction, linestyle=DASHED, label="prediction"),
    ]
    if by_class:
        handles += [Line2D([], [], color=each.reference, linewidth=5, label=name) for name, each in colours.items()]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(4, len(handles)),
        fontsize=9,
        facecolor="#555555",
        labelcolor="white",
    )
    return figure


def describe_dice(evaluation: Evaluation, case: str, method: str) -> str:
    """Return "Dice 0.86" or, with several classes, "Dice Anterior 0.86, Posterior 0.84"."""
    values = {name: evaluation.value("Dice", case, name, method) for name in evaluation.classes}
    shown = [f"{name} {value:.3f}" if len(values) > 1 else f"{value:.3f}" for name, value in values.items()]
    return "Dice " + ", ".join(shown)


def draw_overview(axes: Axes, view: View) -> None:
    """Draw the whole slice and the frame of the zoomed window."""
    _show_image(axes, view)
    rows, columns = view.window
    corner, size = (columns.start, rows.start), (columns.stop - columns.start, rows.stop - rows.start)
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=0.8))
    axes.set_title(f"{view.case}\n{view.where}", fontsize=8)


def draw_zoom(axes: Axes, view: View, method: str, colours: Mapping[str, Palette]) -> None:
    """Draw the zoomed window with the outlines of the reference and a method, in the colours of their classes."""
    _show_image(axes, view)
    styles: list[tuple[Mapping[str, np.ndarray], Any]] = [(view.reference, "-"), (view.predictions[method], DASHED)]
    for side, (masks, style) in enumerate(styles):
        for name, mask in masks.items():
            for line in find_outlines(mask):
                axes.plot(line[:, 0], line[:, 1], color=colours[name][side], linestyle=style, linewidth=1.2)
    rows, columns = view.window
    axes.set_xlim(columns.start, columns.stop)
    axes.set_ylim(rows.stop, rows.start)


def _show_image(axes: Axes, view: View) -> None:
    height, width = view.image.shape
    axes.imshow(
        view.image,
        cmap="gray",
        vmin=0,
        vmax=1,
        extent=(0, width, height, 0),
        aspect=view.spacing[0] / view.spacing[1],
        interpolation="nearest",
    )
    axes.set_axis_off()
