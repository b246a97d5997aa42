"""The headline metrics as text tables for the terminal."""

from __future__ import annotations

import math

import pandas as pd

from ser_nnunet.evaluation.lesion_classes import describe_lesion_classes
from ser_nnunet.evaluation.patients import describe_patients
from ser_nnunet.evaluation.result import Evaluation

NOT_DEFINED = "not defined"
"""Stands for a number that is a fraction of 0 / 0, or the interval of a single patient."""


def format_summary(evaluation: Evaluation) -> str:
    """Return the headline metrics of every method and class: mean, interval, SD, median; below, the patients."""
    settings = evaluation.settings
    headline = {metric.name: metric for metric in evaluation.metrics if metric.headline}
    spread = evaluation.summary[evaluation.summary["metric"].isin(list(headline))]
    rows, means = spread, [""] * len(evaluation.class_means)  # of which there is no spread
    if means:
        rows = pd.concat([rows, evaluation.class_means], ignore_index=True)
    table = pd.DataFrame(
        {
            "class": rows["class"],
            "metric": [headline[name].title for name in rows["metric"]],
            "mean": [format_number(mean) for mean in rows["mean"]],
            f"{settings.confidence:.0%} interval": [
                format_interval(low, high) for low, high in zip(rows["ci_low"], rows["ci_high"], strict=True)
            ],
            "SD": [*map(format_number, spread["sd"]), *means],
            "median": [*map(format_number, spread["median"]), *means],
            "unit": rows["unit"],
            "cases": rows["n"],
            "patients": rows["patients"],
        }
    )
    notes = [f"intervals resample patients: {describe_patients(evaluation.about['patients'])}"]
    if counted := describe_lesion_classes(evaluation.classes, settings):
        notes.append(counted)
    for method, name, cases in evaluation.empty_predictions:
        of_method = f"{method}, " if len(evaluation.methods) > 1 else ""
        notes.append(f"empty predictions ({of_method}{name}): {', '.join(cases)}")
    parts = []
    for method in evaluation.methods:
        part = table[rows["method"] == method]
        heading = f"{method}\n" if len(evaluation.methods) > 1 else ""
        parts.append(heading + align_columns(part))
    return "\n\n".join([*parts, "\n".join(notes)])


def format_comparison(evaluation: Evaluation) -> str:
    """Return the paired tests, one row per other method, class and metric; empty without other methods."""
    rows = evaluation.comparison
    if not len(rows):
        return ""
    titles = {metric.name: metric.title for metric in evaluation.metrics}
    table = pd.DataFrame(
        {
            "against": rows["other"],
            "class": rows["class"],
            "metric": [titles[name] for name in rows["metric"]],
            "mean difference": [format_number(value, signed=True) for value in rows["mean_difference"]],
            "effect": [NOT_DEFINED if math.isnan(value) else f"{value:+.2f}" for value in rows["rank_biserial"]],
            "p (Holm)": [format_p_value(p) for p in rows["p_holm"]],
            "better": rows["better"],
            "pairs": rows["n"],
            "patients": rows["patients"],
        }
    )
    test = "paired Wilcoxon, one value per patient; effect = rank-biserial correlation"
    heading = f"{evaluation.methods[0]} against the others: {test}"
    return f"{heading}\n{align_columns(table)}"


def align_columns(table: pd.DataFrame) -> str:
    """Return a table as text: words to the left, numbers to the right."""
    words = {"class", "metric", "unit", "better", "against"}
    columns = []
    for name in table:
        cells = [str(name), *map(str, table[name])]
        width = max(map(len, cells))
        columns.append([cell.ljust(width) if name in words else cell.rjust(width) for cell in cells])
    lines = ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def format_number(value: float, signed: bool = False, count: bool = False) -> str:
    """Return a number with about four significant digits, or a count without decimals."""
    if value is None or math.isnan(value):
        return NOT_DEFINED
    if count:
        return f"{value:.0f}"
    digits = 3 if abs(value) < 10 else 2 if abs(value) < 100 else 1
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def format_interval(low: float, high: float, signed: bool = False) -> str:
    """Return two numbers, such as an interval's ends, as `0.81 to 0.86`."""
    ends = [format_number(value, signed) for value in (low, high)]
    return NOT_DEFINED if NOT_DEFINED in ends else " to ".join(ends)


def format_p_value(p: float) -> str:
    """Return a p value with three decimals, or `<0.001`."""
    if p is None or math.isnan(p):
        return NOT_DEFINED
    return "<0.001" if p < 0.001 else f"{p:.3f}"
