"""Summaries with bootstrap intervals, and paired tests between methods with Holm's correction."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ser_nnunet.evaluation.definitions import Metric
from ser_nnunet.evaluation.settings import Settings

BATCH = 1_000_000  # resampled values held at once, which bounds the memory of many resamples of many cases


def summarise(cases: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return one row per method, class and metric.

    Args:
        cases: one row per method, case and class; see `Evaluation.cases`.
        settings: resamples, confidence, seed.

    Returns:
        Columns method, class, metric, unit, n (cases where it is defined), undefined, mean, sd (n - 1), median, q1, q3,
        min, max, and ci_low and ci_high of the mean.
    """
    return pd.DataFrame(
        {"method": method, "class": name, "metric": metric.name, "unit": metric.unit}
        | _describe_values(group[metric.name].to_numpy(float), settings)
        for (method, name), group in cases.groupby(["method", "class"], sort=False)
        for metric in settings.metrics
    )


def compare_methods(cases: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Test every other method against the first, case by case, for every headline metric.

    Returns:
        One row per other method, class and metric: n pairs, the first method's mean minus the other's with its
        bootstrap interval, the median difference, Wilcoxon's two-sided p, p after Holm's correction over all rows,
        the rank-biserial correlation (1: the first is larger in every case), and which method is better.
    """
    first, *others = dict.fromkeys(cases["method"])
    tables = {key: group.set_index("case") for key, group in cases.groupby(["method", "class"], sort=False)}
    tested = [
        (other, name, metric)
        for other in others
        for name in dict.fromkeys(cases["class"])
        for metric in settings.metrics
        if metric.headline
    ]
    rows = [
        {"method": first, "other": other, "class": name, "metric": metric.name}
        | compare_pairs(tables[first, name][metric.name], tables[other, name][metric.name], settings)
        for other, name, metric in tested
    ]
    corrected = correct_holm([row["p"] for row in rows])
    return pd.DataFrame(
        [
            row | {"p_holm": p, "better": _name_better(row, p, metric, settings)}
            for row, p, (*_, metric) in zip(rows, corrected, tested, strict=True)
        ]
    )


def compare_pairs(ours: pd.Series, theirs: pd.Series, settings: Settings) -> dict[str, Any]:
    """Test a metric of two methods case by case.

    Args:
        ours: values by case; NaN where undefined.
        theirs: values by case of the other method; cases in which either is undefined are left out.
        settings: resamples, confidence, seed.

    Returns:
        The columns of `compare_methods` from n to p.
    """
    # Rounding errors of distances and volumes would count as differences in Wilcoxon's ranks.
    differences = (ours - theirs).round(9).dropna().to_numpy(float)
    low, high = mean_interval(differences, settings)
    return {
        "n": differences.size,
        "mean_difference": float(differences.mean()) if differences.size else math.nan,
        "ci_low": low,
        "ci_high": high,
        "median_difference": float(np.median(differences)) if differences.size else math.nan,
        "rank_biserial": rank_biserial(differences) if differences.size else math.nan,
        "p": wilcoxon_p(differences),
    }


def mean_interval(values: np.ndarray, settings: Settings) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean over cases; NaN for fewer than two."""
    if values.size < 2:
        return math.nan, math.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    interval = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=settings.bootstrap,
        batch=max(1, BATCH // values.size),
        confidence_level=settings.confidence,
        method="percentile",
        rng=np.random.default_rng(settings.seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def pooled_ratio_interval(parts: np.ndarray, wholes: np.ndarray, settings: Settings) -> tuple[float, float]:
    """Return the percentile bootstrap interval of sum(parts) / sum(wholes), cases resampled.

    Args:
        parts: `(N,)`, one count per case, such as found lesions.
        wholes: `(N,)`, such as all lesions.
        settings: resamples, confidence, seed.

    Returns:
        The interval; NaN where fewer than two cases have a denominator, and (1, 1) where all parts equal the wholes.
    """
    if np.count_nonzero(wholes) < 2:
        return math.nan, math.nan
    if np.array_equal(parts, wholes):
        return 1.0, 1.0
    random = np.random.default_rng(settings.seed)
    drawn = random.multinomial(parts.size, np.full(parts.size, 1 / parts.size), size=settings.bootstrap)
    with np.errstate(invalid="ignore"):
        ratios = (drawn @ parts) / (drawn @ wholes)
    tail = (1 - settings.confidence) / 2
    low, high = np.nanquantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


def rank_biserial(differences: np.ndarray) -> float:
    """Return Kerby's (2014) matched-pairs rank-biserial correlation in [-1, 1]; zeros carry no rank, as in Wilcoxon."""
    nonzero = differences[differences != 0]
    if not nonzero.size:
        return 0.0
    ranks = stats.rankdata(np.abs(nonzero))
    return float(np.sum(ranks * np.sign(nonzero)) / np.sum(ranks))


def wilcoxon_p(differences: np.ndarray) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test; 1 if all pairs are equal, NaN without pairs."""
    if not differences.size:
        return math.nan
    if not np.any(differences):
        return 1.0
    return float(stats.wilcoxon(differences, zero_method="wilcox").pvalue)


def correct_holm(p_values: list[float]) -> list[float]:
    """Correct p values for their number (Holm 1979); NaN stays NaN and doesn't count."""
    defined = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    corrected, highest = [math.nan] * len(p_values), 0.0
    for rank, (p, index) in enumerate(defined):
        highest = max(highest, min(1.0, p * (len(defined) - rank)))
        corrected[index] = highest
    return corrected


def _describe_values(values: np.ndarray, settings: Settings) -> dict[str, Any]:
    defined = values[np.isfinite(values)]
    low, high = mean_interval(defined, settings)
    described = {
        "n": defined.size,
        "undefined": values.size - defined.size,
        "mean": math.nan,
        "sd": float(defined.std(ddof=1)) if defined.size > 1 else math.nan,
        "median": math.nan,
    }
    if defined.size:
        q1, median, q3 = np.quantile(defined, [0.25, 0.5, 0.75])
        described |= {"mean": defined.mean(), "median": median, "q1": q1, "q3": q3}
        described |= {"min": defined.min(), "max": defined.max()}
    return described | {"ci_low": low, "ci_high": high}


def _name_better(row: dict[str, Any], p_holm: float, metric: Metric, settings: Settings) -> str:
    """Return the better method's name, or nothing where the difference is not significant after correction."""
    if not p_holm < 1 - settings.confidence or not row["rank_biserial"] or metric.better == "none":
        return ""
    first_is_better = (row["rank_biserial"] > 0) == (metric.better == "higher")
    return str(row["method"] if first_is_better else row["other"])
