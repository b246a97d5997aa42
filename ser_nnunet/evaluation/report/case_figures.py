"""Cases as a picture file: the image, the truth and the prediction in it, the figures beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.pairing import Case
from ser_nnunet.evaluation.report.views import View, outlines, view_case
from ser_nnunet.evaluation.result import Evaluation


class Palette(NamedTuple):
    """Colours of truth and prediction; the prediction is dashed besides, for those who see no difference."""

    truth: str
    prediction: str


PALETTES = {
    "red-blue": Palette("#ff3b30", "#3d9bff"),
    "colour-blind": Palette("#e69f00", "#56b4e9"),  # Okabe and Ito's orange and sky blue
    "black-white": Palette("#ffffff", "#000000"),
}


def draw_cases(
    evaluation: Evaluation,
    file: Path,
    *,
    cases: Sequence[str] | int = 3,
    palette: str = "red-blue",
    dpi: int = 150,
) -> Path:
    """Draw cases as a PNG (or what the file's ending says): per row the slice with most disagreement, and its zoom.

    Args:
        evaluation: of `evaluate`; its folders must still be there.
        file: where the picture goes.
        cases: names, or how many to choose between the worst and the best by mean Dice.
        palette: one of `PALETTES`.
        dpi: pixels per inch; a row is 3 inches high.

    Returns:
        `file`.

    Raises:
        UserError: an unknown case or palette, or folders that have moved.
    """
    if palette not in PALETTES:
        raise UserError(f"no palette {palette!r}; there are {', '.join(PALETTES)}")
    names = choose_cases(evaluation, cases) if isinstance(cases, int) else list(cases)
    views = [view_of(evaluation, name) for name in names]
    columns = 1 + len(evaluation.methods)
    figure = Figure(figsize=(3.0 * columns, 3.0 * len(views) + 0.5), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for row, view in zip(figure.subplots(len(views), columns, squeeze=False), views, strict=True):
        draw_overview(row[0], view)
        for axes, method in zip(row[1:], evaluation.methods, strict=True):
            draw_zoom(axes, view, method, PALETTES[palette])
            heading = f"{method}\n" if columns > 2 else ""
            axes.set_title(heading + caption(evaluation, view.case, method), fontsize=8)
    _legend(figure, PALETTES[palette])
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=dpi)
    return file


def choose_cases(evaluation: Evaluation, count: int) -> list[str]:
    """Return this many cases between worst and best by mean Dice over the classes, evenly spaced, worst first."""
    ranked = rank_cases(evaluation)
    if not ranked:
        return list(dict.fromkeys(evaluation.cases["case"]))[:count]
    places = np.unique(np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int))
    return [ranked[place] for place in places]


def rank_cases(evaluation: Evaluation, metric: str = "Dice") -> list[str]:
    """Return the first method's cases by a metric's mean over the classes, rising; without those that have none."""
    rows = evaluation.cases[evaluation.cases["method"] == evaluation.methods[0]]
    means = rows.groupby("case")[metric].mean().dropna()
    return [str(name) for name in means.sort_values(kind="stable").index]


def case_of(evaluation: Evaluation, name: str) -> Case:
    """Return a case's files, found again in the folders that the evaluation names.

    Raises:
        UserError: a file that is no longer there, or a case that was not evaluated.
    """
    if name not in set(evaluation.cases["case"]):
        raise UserError(f"{name} is no evaluated case; there are {', '.join(sorted(set(evaluation.cases['case'])))}")
    about, ending = evaluation.about, evaluation.about["file_ending"]
    reference = Path(about["reference"]) / f"{name}{ending}"
    predictions = {method: Path(folder) / f"{name}{ending}" for method, folder in about["methods"].items()}
    image = Path(about["images"]) / f"{name}_0000{ending}" if about["images"] else None
    gone = [str(file) for file in [reference, *predictions.values()] if not file.is_file()]
    if gone:
        raise UserError(
            f"{name} cannot be drawn, these are no longer there: {', '.join(gone)}."
            " Evaluate again; a report without pictures is made by --pictures 0"
        )
    return Case(name, reference, predictions, image if image and image.is_file() else None)


def view_of(evaluation: Evaluation, name: str) -> View:
    """Return what to show of a case (see `view_case`)."""
    classes = {key: tuple(v) if isinstance(v, list) else v for key, v in evaluation.about["classes"].items()}
    return view_case(case_of(evaluation, name), classes, evaluation.about["ignore_label"])


def caption(evaluation: Evaluation, case: str, method: str) -> str:
    """Return "Dice 0.86" or, with several classes, "Dice Anterior 0.86, Posterior 0.84"."""
    values = {name: evaluation.value("Dice", case, name, method) for name in evaluation.classes}
    shown = [f"{name} {value:.3f}" if len(values) > 1 else f"{value:.3f}" for name, value in values.items()]
    return "Dice " + ", ".join(shown)


def draw_overview(axes: Axes, view: View) -> None:
    """Draw the whole slice and the frame of the zoomed window."""
    _grey_image(axes, view)
    rows, columns = view.window
    corner, size = (columns.start, rows.start), (columns.stop - columns.start, rows.stop - rows.start)
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=0.8))
    axes.set_title(f"{view.case}\n{view.where}", fontsize=8)


def draw_zoom(axes: Axes, view: View, method: str, palette: Palette) -> None:
    """Draw the zoomed window with the truth's and a method's outlines."""
    _grey_image(axes, view)
    styles: list[tuple[Any, str, str]] = [
        (view.reference, palette.truth, "-"),
        (view.predictions[method], palette.prediction, (0, (3, 1.5))),  # type: ignore[list-item]
    ]
    for masks, colour, style in styles:
        for mask in masks.values():
            for line in outlines(mask):
                axes.plot(line[:, 0], line[:, 1], color=colour, linestyle=style, linewidth=1.2)
    rows, columns = view.window
    axes.set_xlim(columns.start, columns.stop)
    axes.set_ylim(rows.stop, rows.start)


def _grey_image(axes: Axes, view: View) -> None:
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


def _legend(figure: Figure, palette: Palette) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=palette.truth, label="truth"),
        Line2D([], [], color=palette.prediction, linestyle=(0, (3, 1.5)), label="prediction"),
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2, fontsize=9, facecolor="#555555", labelcolor="white"
    )
