"""Means, differences and ratios between trainers, with bootstrap intervals over patients and seeds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

RESAMPLES = 2000
LOW, HIGH = 2.5, 97.5  # percentiles of a 95 % interval


def collect_values(cases: pd.DataFrame, methods: Mapping[str, list[str]], metric: str) -> dict[str, np.ndarray]:
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


def mean_over_classes(values: np.ndarray) -> float:
    """Return the mean over classes of the mean over seeds and cases `(seeds, cases, classes)` where it is defined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class without a defined case is left out
        return float(np.nanmean(np.nanmean(values, axis=(0, 1))))


def compare_with_first(
    values: Mapping[str, np.ndarray], patients: Sequence[str], seed: int = 0, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Compare every trainer with the first.

    Differences and ratios are paired: a case counts, seed by seed and class by class, where both trainers' values are
    defined. A trainer gains nothing by values that are defined for it alone, and `difference` need not be that of the
    means.

    Patients, each with all their cases, and seeds are drawn with replacement, the same draw for all trainers, so that
    the difficulty of a case cancels out. With one seed the intervals cover the choice of patients and not the variation
    between trainings.

    Args:
        values: trainer -> `(seeds, cases, classes)`, all of one shape.
        patients: of the cases, in their order.

    Returns:
        One row per trainer: `mean, mean_low, mean_high` over all its defined values, the same for `difference` and
        `ratio` to the first, and `n` and `patients`, the cases that these two compare and their patients. With
        fewer than two patients there is no interval (NaN).
    """
    rng = np.random.default_rng(seed)
    first = next(iter(values.values()))
    codes, names = pd.factorize(np.asarray(patients))
    drawn = [
        [np.bincount(rng.integers(count, size=count), minlength=count) for count in (len(first), len(names))]
        for _ in range(resamples)
    ]
    draws = [(of_seeds, of_patients[codes]) for of_seeds, of_patients in drawn]  # how often each is drawn
    rows = []
    for name, array in values.items():
        paired = np.isfinite(array) & np.isfinite(first)
        own, other = (_means(np.where(paired, each, np.nan), draws) for each in (array, first))
        row: dict[str, object] = {"trainer": name}
        defined, compared = np.isfinite(array).any(axis=(0, 2)), paired.any(axis=(0, 2))
        count = len(set(codes[compared]))
        row |= _interval("mean", _means(array, draws), len(set(codes[defined])))
        row |= _interval("difference", own - other, count) | _interval("ratio", divide(own, other), count)
        rows.append(row | {"n": int(compared.sum()), "patients": count})
    return pd.DataFrame(rows)


def _means(values: np.ndarray, draws: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return `mean_over_classes` of the values, then of every draw (how often each seed and each case is in it)."""
    seeds, cases = (np.array(each, float) for each in zip(*draws, strict=True))
    defined = np.isfinite(values)
    sums, counts = (
        np.einsum("rs,rc,sck->rk", seeds, cases, each, optimize=True)
        for each in (np.where(defined, values, 0.0), defined.astype(float))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a draw without a defined case has no mean
        return np.array([mean_over_classes(values), *np.nanmean(divide(sums, counts), axis=1)])


def divide(one: float | np.ndarray, other: float | np.ndarray) -> np.ndarray:
    """Return the ratio; NaN, never infinity, where the divisor is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.divide(one, other)
    return np.where(np.isfinite(ratio), ratio, np.nan)


def _interval(name: str, means: np.ndarray, patients: int) -> dict[str, float]:
    """Return a mean and its interval, which one patient alone does not have."""
    value, drawn = means[0], means[1:]
    defined = drawn[np.isfinite(drawn)]
    low, high = np.percentile(defined, [LOW, HIGH]) if len(defined) and patients > 1 else (np.nan, np.nan)
    return {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}
