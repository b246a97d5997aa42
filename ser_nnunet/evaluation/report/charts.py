"""The report's charts as SVG: distributions, Bland-Altman plots, lesion sensitivity by size."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ser_nnunet.evaluation.definitions import Metric, stratum_column
from ser_nnunet.evaluation.report.colours import class_colour, method_colour
from ser_nnunet.evaluation.result import Evaluation
from ser_nnunet.evaluation.statistics import ratio_interval
from ser_nnunet.utils.figures import own_style
from ser_nnunet.utils.printable import printable

MARKERS = ("o", "s", "^", "D", "v", "P")  # distinguish methods without colour
WIDTH = 4.2  # inches: the text stays legible on a phone
DIRECTIONS = {"higher": ", higher is better", "lower": ", lower is better", "none": ""}
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, copied and read by screen readers
    "svg.hashsalt": "ser-nnunet",  # reproducible: the same evaluation gives the same file
    "text.parse_math": False,  # a name such as $1_a^{b$ is no formula
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def case_anchor(case: str) -> str:
    """Return the id of a case's first row in the table, for links."""
    return "case-" + re.sub(r"[^\w.-]", "_", case)


def draw_distribution(evaluation: Evaluation, metric: Metric) -> str:
    """Draw boxes (median, quartiles, 1.5 IQR) with every case as a point, one row per class and method."""
    methods = evaluation.methods
    measured = [name for name in evaluation.classes if metric in evaluation.settings.metrics_of(name)]
    rows = [(name, index) for name in measured for index in range(len(methods))]
    labels = [name if len(methods) == 1 else f"{name}\n{methods[index]}" for name, index in rows]
    with _new_figure(0.9 + 0.42 * len(rows)) as (figure, axes):
        for place, (name, index) in enumerate(rows):
            values = (
                evaluation.values(metric.name, name, methods[index]).dropna().round(6)
            )  # no axis of rounding errors
            _draw_box(axes, values, place, index, _colour(evaluation, name, index))
        axes.set_yticks(range(len(rows)), list(map(_shorten_lines, labels)))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel(metric.title + (f" ({metric.unit})" if metric.unit else "") + DIRECTIONS[metric.better])
        axes.grid(axis="x", color="#e3e3e3", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure_to_svg(figure)


def draw_bland_altman(evaluation: Evaluation, class_name: str) -> str:
    """Draw the volume difference over the mean volume, with the mean difference and the limits of agreement."""
    with _new_figure(2.9) as (figure, axes):
        for index, method in enumerate(evaluation.methods):
            difference = evaluation.values("volume_difference_ml", class_name, method)
            sizes = [evaluation.values(f"{side}_ml", class_name, method) for side in ("reference", "prediction")]
            colour = _colour(evaluation, class_name, index)
            _draw_points(axes, (sizes[0] + sizes[1]) / 2, difference, index, colour)
            mean, *limits = limits_of_agreement(evaluation, class_name, method)
            axes.axhline(mean, color=colour, linewidth=1.2)
            for limit in filter(np.isfinite, limits):  # undefined for a single case
                axes.axhline(limit, color=colour, linewidth=0.9, linestyle=(0, (4, 2)))
        axes.axhline(0, color="#888888", linewidth=0.6)
        axes.set_xlabel("mean of reference and prediction (ml)")
        axes.set_ylabel("prediction - reference (ml)")
    return figure_to_svg(figure)


def limits_of_agreement(evaluation: Evaluation, class_name: str, method: str) -> tuple[float, float, float]:
    """Return the mean volume difference and its lower and upper limit of agreement (1.96 SD), in ml."""
    difference = evaluation.values("volume_difference_ml", class_name, method)
    mean, sd = float(difference.mean()), float(difference.std(ddof=1))
    return mean, mean - 1.96 * sd, mean + 1.96 * sd


def tabulate_lesion_sensitivity(evaluation: Evaluation, class_name: str) -> pd.DataFrame:
    """Return found and all reference lesions of all cases per size stratum and method, and the fraction found.

    The interval resamples patients, not lesions: lesions of one patient are not independent.
    """
    rows = []
    for stratum in evaluation.settings.stratum_names:
        for method in evaluation.methods:
            found, total = (
                evaluation.values(stratum_column(name, stratum), class_name, method, index="patient")
                for name in ("lesions_found", "lesions_reference")
            )
            low, high = ratio_interval(found, total, evaluation.settings)
            counts = int(found.sum()), int(total.sum())
            rows.append((stratum, method, *counts, counts[0] / counts[1] if counts[1] else float("nan"), low, high))
    return pd.DataFrame(rows, columns=["stratum", "method", "found", "total", "sensitivity", "low", "high"])


def draw_lesion_sensitivity(table: pd.DataFrame, evaluation: Evaluation, class_name: str) -> str:
    """Draw the bars and intervals of `tabulate_lesion_sensitivity`; an empty string without reference lesions."""
    table = table[table["total"] > 0].reset_index(drop=True)
    if not len(table):
        return ""
    methods = evaluation.methods
    labels = [f"{row.stratum} voxels" + (f"\n{row.method}" if len(methods) > 1 else "") for row in table.itertuples()]
    with _new_figure(1.0 + 0.36 * len(table)) as (figure, axes):
        for place, row in enumerate(table.itertuples()):
            colour = _colour(evaluation, class_name, methods.index(str(row.method)))
            axes.barh(place, np.nan_to_num(row.sensitivity), height=0.7, color=colour, alpha=0.55)
            if np.isfinite(row.low):
                axes.plot([row.low, row.high], [place, place], color="#222222", linewidth=1.4, solid_capstyle="butt")
            axes.text(1.02, place, f"{row.found} of {row.total}", va="center", fontsize=8)
        axes.set_yticks(range(len(table)), list(map(_shorten_lines, labels)))
        axes.set_ylim(len(table) - 0.4, -0.6)
        axes.set_xlim(0, 1.0)
        axes.set_xlabel("fraction of reference lesions found")
    return figure_to_svg(figure)


def figure_to_svg(figure: Figure) -> str:
    """Return a figure as an `<svg>` element without width and height, which the page sets."""
    buffer = io.StringIO()
    with own_style(STYLE):
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    head, rest = text.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f"{head}>{re.sub(r'<metadata>.*?</metadata>', '', rest, flags=re.DOTALL)}"


@contextmanager
def _new_figure(height: float) -> Iterator[tuple[Figure, Axes]]:
    with own_style(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure, figure.add_subplot()


def _draw_box(axes: Axes, values: pd.Series, place: int, index: int, colour: str) -> None:
    if not len(values):
        axes.text(0.5, place, "not defined in any case", transform=axes.get_yaxis_transform(), ha="center", va="center")
        return
    line = {"color": colour, "linewidth": 1.1}
    axes.boxplot(
        values.to_numpy(),
        positions=[place],
        orientation="horizontal",
        widths=0.62,
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": colour + "22", "edgecolor": colour, "linewidth": 1.1},
        medianprops={"color": "#111111", "linewidth": 1.8, "zorder": 5},  # above the points
        whiskerprops=line,
        capprops=line,
        manage_ticks=False,
    )
    # Spread by rank instead of at random: reproducible.
    spread = ((values.rank(method="first") * 0.618034) % 1 - 0.5) * 0.44
    _draw_points(axes, values, place + spread, index, colour)


def _draw_points(axes: Axes, x: pd.Series, y: pd.Series, index: int, colour: str) -> None:
    """Draw a point per case, which links to its row; both series have the cases as index."""
    size, alpha = (18, 0.8) if len(x) < 50 else (10, 0.45)
    dots = axes.scatter(
        x, y, s=size, color=colour, alpha=alpha, linewidths=0, marker=MARKERS[index % len(MARKERS)], zorder=3
    )
    dots.set_urls([f"#{quote(case_anchor(str(case)))}" for case in x.index])


def _shorten_lines(label: str, longest: int = 18) -> str:
    """Keep the end of every long line: method names are folders, which differ at their ends."""
    lines = printable(label).split("\n")
    return "\n".join(line if len(line) <= longest else f"...{line[3 - longest :]}" for line in lines)


def _colour(evaluation: Evaluation, class_name: str, index: int) -> str:
    """Colour a method among several; a single one by the class, as in the example cases."""
    if len(evaluation.methods) > 1 or len(evaluation.classes) == 1:
        return method_colour(index)
    return class_colour(evaluation.classes.index(class_name))
