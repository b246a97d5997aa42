"""The report's charts, as SVG for embedding: distributions, Bland-Altman, lesion sensitivity by size."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ser_nnunet.evaluation.definitions import Metric, stratified
from ser_nnunet.evaluation.result import Evaluation

# Okabe and Ito's colours, told apart with every kind of colour vision; the markers say the same without colour.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MARKERS = ("o", "s", "^", "D", "v", "P")
WIDTH = 4.2  # inches: fits a phone's width without shrinking the letters
METADATA = ("Date", "Creator", "Format", "Type")  # left out
STYLE: Any = {
    "svg.fonttype": "none",  # letters stay letters: they can be found, copied and read aloud
    "svg.hashsalt": "ser-nnunet",  # the same evaluation gives the same file
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def case_anchor(case: str) -> str:
    """Return the id of a case's first row in the table, for links."""
    return "case-" + re.sub(r"[^\w.-]", "_", case)


def distribution(evaluation: Evaluation, metric: Metric) -> str:
    """Boxes (median, quartiles, 1.5 IQR) with every case as a point; a line per class and method."""
    methods, classes = evaluation.methods, evaluation.classes
    rows = [(name, index) for name in classes for index in range(len(methods))]
    with _figure(0.9 + 0.42 * len(rows)) as (figure, axes):
        for place, (name, index) in enumerate(rows):
            values = evaluation.values(metric.name, name, methods[index]).dropna()
            _box_with_points(axes, values, place, index)
        axes.set_yticks(range(len(rows)), [_row_label(evaluation, *row) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel(metric.title + (f" ({metric.unit})" if metric.unit else "") + _direction(metric))
        axes.grid(axis="x", color="#e3e3e3", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure_svg(figure)


def bland_altman(evaluation: Evaluation, class_name: str) -> str:
    """Volume difference over mean volume, with the mean difference and the limits of agreement (1.96 SD)."""
    with _figure(2.9) as (figure, axes):
        for index, method in enumerate(evaluation.methods):
            difference = evaluation.values("volume_difference_ml", class_name, method)
            sizes = [evaluation.values(f"{side}_ml", class_name, method) for side in ("reference", "prediction")]
            _points(axes, (sizes[0] + sizes[1]) / 2, difference, index, difference.index)
            mean, sd = difference.mean(), difference.std(ddof=1)
            axes.axhline(mean, color=_colour(index), linewidth=1.2)
            for limit in (mean - 1.96 * sd, mean + 1.96 * sd):
                if np.isfinite(limit):
                    axes.axhline(limit, color=_colour(index), linewidth=0.9, linestyle=(0, (4, 2)))
        axes.axhline(0, color="#888888", linewidth=0.6)
        axes.set_xlabel("mean of reference and prediction (ml)")
        axes.set_ylabel("prediction - reference (ml)")
    return figure_svg(figure)


def agreement(evaluation: Evaluation, class_name: str, method: str) -> tuple[float, float, float]:
    """Return the mean volume difference and its lower and upper limit of agreement, in ml."""
    difference = evaluation.values("volume_difference_ml", class_name, method)
    mean, sd = float(difference.mean()), float(difference.std(ddof=1))
    return mean, mean - 1.96 * sd, mean + 1.96 * sd


def sensitivity_by_size(evaluation: Evaluation, class_name: str) -> pd.DataFrame:
    """Return found and all reference lesions of all cases per stratum and method, and the share that was found.

    The interval resamples cases, not lesions: lesions of one patient are not independent.
    """
    rows = []
    for stratum in evaluation.settings.stratum_names:
        for method in evaluation.methods:
            pair = [
                evaluation.values(stratified(f"lesions_{what}", stratum), class_name, method).to_numpy()
                for what in ("found", "reference")
            ]
            found, total = (int(each.sum()) for each in pair)
            low, high = _ratio_interval(pair[0], pair[1], evaluation)
            share = found / total if total else float("nan")
            rows.append((stratum, method, found, total, share, low, high))
    return pd.DataFrame(rows, columns=["stratum", "method", "found", "total", "sensitivity", "low", "high"])


def sensitivity_chart(evaluation: Evaluation, class_name: str) -> str:
    """Bars of `sensitivity_by_size`, their intervals, and how many lesions they stand for; "" if there are none."""
    table, count = sensitivity_by_size(evaluation, class_name), len(evaluation.methods)
    table = table[table["total"] > 0].reset_index(drop=True)
    if not len(table):
        return ""
    with _figure(1.0 + 0.36 * len(table)) as (figure, axes):
        for place, row in enumerate(table.itertuples()):
            colour = _colour(evaluation.methods.index(str(row.method)))
            axes.barh(place, np.nan_to_num(row.sensitivity), height=0.7, color=colour, alpha=0.55)
            if np.isfinite(row.low):
                axes.plot([row.low, row.high], [place, place], color="#222222", linewidth=1.4, solid_capstyle="butt")
            axes.text(1.02, place, f"{row.found} of {row.total}", va="center", fontsize=8)
        labels = [f"{row.stratum} voxels" + (f"\n{row.method}" if count > 1 else "") for row in table.itertuples()]
        axes.set_yticks(range(len(table)), [_shortened(label) for label in labels])
        axes.set_ylim(len(table) - 0.4, -0.6)
        axes.set_xlim(0, 1.0)
        axes.set_xlabel("share of reference lesions found")
    return figure_svg(figure)


def figure_svg(figure: Figure) -> str:
    """Return a figure as an `<svg>` element without width and height, so that the page decides."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    head, rest = text.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f"{head}>{re.sub(r'<metadata>.*?</metadata>', '', rest, flags=re.DOTALL)}"


@contextmanager
def _figure(height: float) -> Iterator[tuple[Figure, Axes]]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure, figure.add_subplot()


def _box_with_points(axes: Axes, values: pd.Series, place: int, index: int) -> None:
    if not len(values):
        axes.text(0.5, place, "undefined in every case", transform=axes.get_yaxis_transform(), ha="center", va="center")
        return
    line = {"color": _colour(index), "linewidth": 1.1}
    axes.boxplot(
        values.to_numpy(),
        positions=[place],
        orientation="horizontal",
        widths=0.62,
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": _colour(index) + "22", "edgecolor": _colour(index), "linewidth": 1.1},
        medianprops={"color": "#111111", "linewidth": 1.8, "zorder": 5},  # above the points
        whiskerprops=line,
        capprops=line,
        manage_ticks=False,
    )
    # Spread by rank, not by chance: two runs draw the same picture.
    spread = ((values.rank(method="first") * 0.618034) % 1 - 0.5) * 0.44
    _points(axes, values, place + spread, index, values.index)


def _points(axes: Axes, x: pd.Series, y: pd.Series, index: int, cases: pd.Index) -> None:
    size, alpha = (18, 0.8) if len(cases) < 50 else (10, 0.45)
    dots = axes.scatter(x, y, s=size, color=_colour(index), alpha=alpha, linewidths=0, marker=_marker(index), zorder=3)
    dots.set_urls([f"#{quote(case_anchor(str(case)))}" for case in cases])


def _ratio_interval(found: np.ndarray, total: np.ndarray, evaluation: Evaluation) -> tuple[float, float]:
    """Bootstrap sum(found) / sum(total) over cases."""
    settings = evaluation.settings
    if total.sum() == 0 or np.count_nonzero(total) < 2:
        return float("nan"), float("nan")
    if np.array_equal(found, total):
        return 1.0, 1.0
    random = np.random.default_rng(settings.seed)
    drawn = random.multinomial(found.size, np.full(found.size, 1 / found.size), size=settings.bootstrap)
    with np.errstate(invalid="ignore"):
        shares = (drawn @ found) / (drawn @ total)
    tail = (1 - settings.confidence) / 2
    low, high = np.nanquantile(shares, [tail, 1 - tail])
    return float(low), float(high)


def _row_label(evaluation: Evaluation, name: str, index: int) -> str:
    return _shortened(name if len(evaluation.methods) == 1 else f"{name}\n{evaluation.methods[index]}")


def _shortened(label: str, longest: int = 18) -> str:
    """Ends of long method names (folders) tell more than their beginnings."""
    return "\n".join(line if len(line) <= longest else f"...{line[3 - longest :]}" for line in label.split("\n"))


def _direction(metric: Metric) -> str:
    return {"higher": ", higher is better", "lower": ", lower is better", "none": ""}[metric.better]


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _marker(index: int) -> str:
    return MARKERS[index % len(MARKERS)]
