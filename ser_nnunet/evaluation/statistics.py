"""Summaries with bootstrap intervals over patients, and paired tests between methods with Holm's correction."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ser_nnunet.evaluation.definitions import Metric
from ser_nnunet.evaluation.settings import Settings

CLASS_MEAN = "(mean of classes)"
BATCH = 1_000_000  # resampled values held at once, which bounds the memory of many resamples of many cases


def summarise(cases: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return one row per method, class and metric.

    Args:
        cases: one row per method, case and class; see `Evaluation.cases`.
        settings: resamples, confidence, seed.

    Returns:
        Columns method, class, metric, unit, n (cases where it is defined), undefined, patients (of these n cases),
        mean, sd (n - 1), median, q1, q3, min, max, and ci_low and ci_high of the mean.
    """
    return pd.DataFrame(
        {"method": method, "class": name, "metric": metric.name, "unit": metric.unit}
        | _describe_values(group.set_index("patient")[metric.name], settings)
        for (method, name), group in cases.groupby(["method", "class"], sort=False)
        for metric in settings.metrics_of(str(name))
    )


def summarise_class_means(cases: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return one row per method and headline metric for the mean of the classes' means (nnU-Net's `foreground_mean`).

    Args:
        cases: as in `summarise`.
        settings: resamples, confidence, seed.

    Returns:
        The columns of `summarise` without the measures of spread; the class is `CLASS_MEAN`, n counts the cases in
        which a class is defined, and undefined the others. No row if the metric is measured for one class.
    """
    measured = Counter(metric.name for name in cases["class"].unique() for metric in settings.metrics_of(name))
    rows = []
    for method, group in cases.groupby("method", sort=False):
        for metric in settings.metrics:
            if metric.headline and measured[metric.name] > 1:
                table = group.pivot(index=["case", "patient"], columns="class", values=metric.name).droplevel("case")
                low, high = class_mean_interval(table, settings)
                defined = table[table.notna().any(axis="columns")]
                counts = {"n": len(defined), "undefined": len(table) - len(defined)}
                counts["patients"] = defined.index.nunique()
                names = {"method": method, "class": CLASS_MEAN, "metric": metric.name, "unit": metric.unit}
                rows.append(names | counts | {"mean": table.mean().mean(), "ci_low": low, "ci_high": high})
    return pd.DataFrame(rows)


def compare_methods(cases: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Test every other method against the first, case by case, for every headline metric.

    Returns:
        One row per other method, class and metric: n pairs of cases and their patients, the first method's mean minus
        the other's with its bootstrap interval, the median difference, Wilcoxon's two-sided p, p after Holm's
        correction over all rows, the rank-biserial correlation (1: the first is larger in every patient), and which
        method is better.
    """
    first, *others = dict.fromkeys(cases["method"])
    keys = ["case", "patient"]
    tables = {key: group.set_index(keys) for key, group in cases.groupby(["method", "class"], sort=False)}
    tested = [
        (other, name, metric)
        for other in others
        for name in dict.fromkeys(cases["class"])
        for metric in settings.metrics_of(name)
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

    Wilcoxon's test and the effect size take one value per patient, the mean over the differences of the patient's
    scans: the test assumes independent pairs. Means, median and n are those of the cases.

    Args:
        ours: values by case and patient (two levels of the index); NaN where undefined.
        theirs: the same of the other method; cases in which either is undefined are left out.
        settings: resamples, confidence, seed.

    Returns:
        The columns of `compare_methods` from n to p.
    """
    # Rounding errors of distances and volumes would count as differences in Wilcoxon's ranks.
    differences = (ours - theirs).round(9).dropna().droplevel("case").astype(float)
    by_patient = differences.groupby(level="patient", sort=False).mean().round(9).to_numpy()
    low, high = mean_interval(differences, settings)
    return {
        "n": len(differences),
        "patients": len(by_patient),
        "mean_difference": float(differences.mean()),
        "ci_low": low,
        "ci_high": high,
        "median_difference": float(differences.median()),
        "rank_biserial": rank_biserial(by_patient) if by_patient.size else math.nan,
        "p": wilcoxon_p(by_patient),
    }


def mean_interval(values: pd.Series, settings: Settings) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean over cases; see `ratio_interval`.

    Args:
        values: of cases, all defined, with their patients as index.
        settings: resamples, confidence, seed.
    """
    if values.index.nunique() > 1 and np.ptp(values) == 0:
        return float(values.iloc[0]), float(values.iloc[0])  # without the sums' rounding errors
    return ratio_interval(values, pd.Series(1.0, values.index), settings)


def ratio_interval(parts: pd.Series, wholes: pd.Series, settings: Settings) -> tuple[float, float]:
    """Return the percentile bootstrap interval of sum(parts) / sum(wholes), patients resampled.

    Scans of one patient resemble each other. Patients are therefore drawn with replacement, each with all its scans
    (cluster bootstrap; Davison and Hinkley 1997, section 3.8).

    Args:
        parts: one number per case with its patient as index: a metric, or a count such as found lesions.
        wholes: in the same order: 1 for the mean over cases, or a count such as all lesions.
        settings: resamples, confidence, seed.

    Returns:
        The interval; NaN where fewer than two patients have a denominator.
    """
    sums = pd.DataFrame({"parts": parts, "wholes": wholes}).groupby(level=0, sort=False).sum()
    if np.count_nonzero(sums["wholes"]) < 2:
        return math.nan, math.nan
    return _resample([sums["parts"].to_numpy(float), sums["wholes"].to_numpy(float)], _divide_sums, settings)


def class_mean_interval(values: pd.DataFrame, settings: Settings) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of the classes' means over cases; see `ratio_interval`.

    Args:
        values: one row per case with its patient as index, one column per class; NaN where undefined. Classes that are
            defined in no case are left out, as by `Evaluation.mean`.
        settings: resamples, confidence, seed.
    """
    defined = values.dropna(axis="columns", how="all")
    sums = defined.groupby(level=0, sort=False).sum()
    counts = defined.notna().groupby(level=0, sort=False).sum()
    if np.count_nonzero(counts.any(axis="columns")) < 2:
        return math.nan, math.nan
    samples = [table[name].to_numpy(float) for table in (sums, counts) for name in defined]
    return _resample(samples, _mean_ratios, settings)


def _resample(
    samples: Sequence[np.ndarray], statistic: Callable[..., np.ndarray], settings: Settings
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic of paired samples, one value per patient each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # of draws without a denominator
        drawn = stats.bootstrap(
            samples,
            statistic,
            paired=True,
            n_resamples=settings.bootstrap,
            batch=max(1, BATCH // len(samples[0])),
            method="percentile",
            rng=np.random.default_rng(settings.seed),
        ).bootstrap_distribution
    tail = (1 - settings.confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
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


def _divide_sums(parts: np.ndarray, wholes: np.ndarray, axis: int = -1) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return parts.sum(axis) / wholes.sum(axis)


def _mean_ratios(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean of several ratios of sums: the samples are first all parts, then all wholes."""
    half = len(samples) // 2
    pairs = zip(samples[:half], samples[half:], strict=True)
    return np.mean([_divide_sums(parts, wholes, axis) for parts, wholes in pairs], axis=0)


def _describe_values(values: pd.Series, settings: Settings) -> dict[str, Any]:
    """Describe a metric's values, whose index are the cases' patients."""
    defined = values[np.isfinite(values)]
    low, high = mean_interval(defined, settings)
    q1, median, q3 = defined.quantile([0.25, 0.5, 0.75])
    return {
        "n": len(defined),
        "undefined": len(values) - len(defined),
        "patients": defined.index.nunique(),
        "mean": defined.mean(),
        "sd": defined.std(),
        "median": median,
        "q1": q1,
        "q3": q3,
        "min": defined.min(),
        "max": defined.max(),
        "ci_low": low,
        "ci_high": high,
    }


def _name_better(row: dict[str, Any], p_holm: float, metric: Metric, settings: Settings) -> str:
    """Return the better method's name, or nothing where the difference is not significant after correction."""
    if not p_holm < 1 - settings.confidence or not row["rank_biserial"] or metric.better == "none":
        return ""
    first_is_better = (row["rank_biserial"] > 0) == (metric.better == "higher")
    return str(row["method"] if first_is_better else row["other"])
