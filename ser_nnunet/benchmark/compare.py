"""Means, differences and ratios between trainers, with bootstrap intervals over cases and seeds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd

RESAMPLES = 2000
LOW, HIGH = 2.5, 97.5  # percentiles of a 95 % interval


def values_of(cases: pd.DataFrame, methods: Mapping[str, list[str]], metric: str) -> dict[str, np.ndarray]:
    """Return trainer -> values `(seeds, cases, classes)`; NaN where a metric is undefined.

    Args:
        cases: an `Evaluation`'s cases.
        methods: trainer -> the evaluation's methods, one per seed.
        metric: a column of `cases`.
    """
    table = cases.set_index(["method", "case", "class"])[metric]
    names = list(dict.fromkeys(cases["case"]))
    classes = list(dict.fromkeys(cases["class"]))
    index = {
        trainer: pd.MultiIndex.from_product([each, names, classes], names=table.index.names)
        for trainer, each in methods.items()
    }
    return {
        trainer: table.reindex(rows).to_numpy(float).reshape(len(methods[trainer]), len(names), len(classes))
        for trainer, rows in index.items()
    }


def mean_of(values: np.ndarray) -> float:
    """Return the mean over classes of the mean over seeds and cases `(seeds, cases, classes)` where it is defined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class without a defined case is left out
        return float(np.nanmean(np.nanmean(values, axis=(0, 1))))


def compare(values: Mapping[str, np.ndarray], seed: int = 0, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Compare every trainer with the first.

    Cases and seeds are drawn with replacement, the same draw for all trainers, so that what makes a case hard cancels
    out. With one seed the intervals tell of cases alone, and not of what another training would have given.

    Args:
        values: trainer -> `(seeds, cases, classes)`, all of one shape.

    Returns:
        One row per trainer: `mean, mean_low, mean_high`, and the same for `difference` and `ratio` to the first.
    """
    rng = np.random.default_rng(seed)
    shape = next(iter(values.values())).shape
    draws = [
        np.ix_(rng.integers(shape[0], size=shape[0]), rng.integers(shape[1], size=shape[1])) for _ in range(resamples)
    ]
    means = {name: mean_of(array) for name, array in values.items()}
    drawn = {name: np.array([mean_of(array[draw]) for draw in draws]) for name, array in values.items()}
    first = next(iter(values))
    rows = []
    for name in values:
        row: dict[str, object] = {"trainer": name}
        row |= _interval("mean", means[name], drawn[name])
        row |= _interval("difference", means[name] - means[first], drawn[name] - drawn[first])
        row |= _interval("ratio", divide(means[name], means[first]), divide(drawn[name], drawn[first]))
        rows.append(row)
    return pd.DataFrame(rows)


def divide(one: float | np.ndarray, other: float | np.ndarray) -> np.ndarray:
    """Return the ratio; NaN, never infinity, where the divisor is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.divide(one, other)
    return np.where(np.isfinite(ratio), ratio, np.nan)


def _interval(name: str, value: float | np.ndarray, drawn: np.ndarray) -> dict[str, float]:
    defined = drawn[np.isfinite(drawn)]
    low, high = np.percentile(defined, [LOW, HIGH]) if len(defined) else (np.nan, np.nan)
    return {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}
