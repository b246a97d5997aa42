"""Intervals and tests against numbers computed by hand."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ser_nnunet.evaluation.definitions import GROUPS, OVERLAP
from ser_nnunet.evaluation.settings import Settings
from ser_nnunet.evaluation.statistics import (
    compare_methods,
    correct_holm,
    mean_interval,
    rank_biserial,
    ratio_interval,
    summarise,
    summarise_class_means,
    wilcoxon_p,
)

SETTINGS = Settings(groups=("overlap",), bootstrap=500)


def table(patients=None, **dice):
    """Methods' Dice by case; every other metric is the same number for all. Every case is a patient by default."""
    metrics = ["IoU", "sensitivity", "precision", "reference_ml", "prediction_ml"]
    metrics += ["volume_difference_ml", "absolute_volume_difference_ml"]
    rows = [
        {"method": method, "case": str(case), "patient": patients[case] if patients else str(case)}
        | {"class": "lesion", "Dice": value}
        | dict.fromkeys(metrics, 1.0)
        for method, values in dice.items()
        for case, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def row_of(frame, metric):
    return frame[frame["metric"] == metric].iloc[0]


def test_summary_of_four_cases_one_of_them_undefined():
    row = row_of(summarise(table(a=[0.2, 0.4, 0.9, math.nan]), SETTINGS), "Dice")
    assert (row["n"], row["undefined"], row["patients"]) == (3, 1, 3)
    assert row["mean"] == pytest.approx(0.5) and row["median"] == 0.4
    assert row["sd"] == pytest.approx(math.sqrt((0.09 + 0.01 + 0.16) / 2))
    assert (row["q1"], row["q3"]) == (pytest.approx(0.3), pytest.approx(0.65))
    assert 0.2 <= row["ci_low"] < 0.5 < row["ci_high"] <= 0.9


def test_the_mean_of_classes_weighs_the_classes_and_not_their_cases():
    first = table(a=[0.2, 0.4, math.nan])
    both = pd.concat([first, table(a=[0.8, math.nan, math.nan]).assign(**{"class": "organ"})])
    row = row_of(summarise_class_means(both, SETTINGS), "Dice")
    assert row["mean"] == pytest.approx((0.3 + 0.8) / 2)
    assert (row["n"], row["undefined"], row["patients"]) == (2, 1, 2)
    assert 0.5 <= row["ci_low"] <= row["mean"] <= row["ci_high"] <= 0.6
    assert summarise_class_means(first, SETTINGS).empty


def test_bootstrap_interval_agrees_with_theory_and_is_reproducible():
    values = pd.Series(np.random.default_rng(0).normal(size=400))
    low, high = mean_interval(values, SETTINGS)
    # 1.96 standard errors on both sides, as theory has it.
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert mean_interval(values, SETTINGS) == (low, high)
    assert mean_interval(pd.Series([0.7] * 5), SETTINGS) == (0.7, 0.7)
    assert all(map(math.isnan, mean_interval(pd.Series([0.7]), SETTINGS)))


def test_scans_that_repeat_others_of_their_patient_do_not_narrow_the_interval():
    values = np.random.default_rng(0).uniform(size=12)
    single = pd.Series(values)
    repeated = pd.Series([*values, *values], index=[*single.index, *single.index])
    assert mean_interval(repeated, SETTINGS) == pytest.approx(mean_interval(single, SETTINGS), abs=1e-12)
    low, high = mean_interval(single, SETTINGS)
    treated_as_independent = mean_interval(repeated.reset_index(drop=True), SETTINGS)
    assert treated_as_independent[1] - treated_as_independent[0] < 0.8 * (high - low)  # 0.71 by theory


def test_all_scans_of_a_drawn_patient_count():
    values = pd.Series([0.0, 1.0, 1.0, 1.0], index=["p", "q", "q", "q"])
    # Drawn are p and p, p and q (or q and p), q and q: means 0, 3/4 and 1, never 1/2.
    assert mean_interval(values, SETTINGS) == (0, 1)
    narrow = replace(SETTINGS, confidence=0.01, bootstrap=5000)
    assert mean_interval(values, narrow) == (0.75, 0.75)
    one_patient = pd.Series([0.2, 0.4], index=["p", "p"])
    assert all(map(math.isnan, mean_interval(one_patient, SETTINGS)))


def test_pooled_counts_are_resampled_by_patient():
    found, lesions = (pd.Series(each, index=["p", "p", "q"]) for each in ([1, 2, 4], [1, 2, 4]))
    assert ratio_interval(found, lesions, SETTINGS) == (1, 1)
    low, high = ratio_interval(found - [1, 2, 0], lesions, SETTINGS)
    assert (low, high) == (0, 1)  # nothing found in p, all in q
    assert all(map(math.isnan, ratio_interval(found, lesions * [1, 1, 0], SETTINGS)))  # one patient has lesions


def test_the_test_takes_one_value_per_patient():
    # The scans of a patient differ by 0.1 and 0.3, 0.2 and 0.4, ...: means 0.2, 0.3, 0.4, 0.5, 0.6.
    differences = [d for patient in range(5) for d in (0.1 + 0.1 * patient, 0.3 + 0.1 * patient)]
    patients = [f"P{number // 2}" for number in range(10)]
    row = row_of(compare_methods(table(patients, a=differences, b=[0.0] * 10), SETTINGS), "Dice")
    assert (row["n"], row["patients"]) == (10, 5) and row["mean_difference"] == pytest.approx(0.4)
    assert row["p"] == pytest.approx(2 / 2**5) and row["rank_biserial"] == 1
    # Scans in opposite directions cancel out within a patient.
    row = row_of(compare_methods(table(["P", "P"], a=[0.4, 0.6], b=[0.5, 0.5]), SETTINGS), "Dice")
    assert row["p"] == 1 and row["rank_biserial"] == 0 and row["n"] == 2


def test_holms_correction_by_hand():
    # sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 = 0.06 (not below its predecessor), 0.04 x 1 -> 0.06
    assert correct_holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    corrected = correct_holm([0.6, math.nan, 0.7])
    assert corrected[0] == 1 and math.isnan(corrected[1]) and corrected[2] == 1


def test_rank_biserial_by_hand():
    # ranks 1, 2, 3, 4; the one of rank 2 is negative: (1 + 3 + 4 - 2) / 10
    assert rank_biserial(np.array([0.1, -0.2, 0.3, 0.4, 0.0])) == pytest.approx(0.6)
    assert rank_biserial(np.array([-1.0, -2.0])) == -1
    assert rank_biserial(np.zeros(3)) == 0


def test_wilcoxon_is_exact_for_few_cases():
    assert wilcoxon_p(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == pytest.approx(2 / 2**5)  # one of 32 sign patterns, twice
    assert wilcoxon_p(np.zeros(4)) == 1
    assert math.isnan(wilcoxon_p(np.array([])))


def test_the_better_method_is_named_and_equal_values_are_not_significant():
    better = np.linspace(0.80, 0.90, 12)
    rows = compare_methods(table(ours=better, theirs=better - np.linspace(0.01, 0.05, 12)), SETTINGS)
    dice = row_of(rows, "Dice")
    assert dice["better"] == "ours" and dice["rank_biserial"] == 1 and dice["mean_difference"] == pytest.approx(0.03)
    assert dice["p"] == pytest.approx(2 / 2**12) and dice["p_holm"] == pytest.approx(len(rows) * 2 / 2**12)
    same = row_of(rows, "precision")
    assert same["p"] == 1 and same["better"] == ""


def test_lower_is_better_for_errors():
    frame = table(ours=[0.5] * 12, theirs=[0.5] * 12)
    frame.loc[frame["method"] == "ours", "absolute_volume_difference_ml"] = np.linspace(2, 3, 12)
    assert row_of(compare_methods(frame, SETTINGS), "absolute_volume_difference_ml")["better"] == "theirs"


def test_pairs_need_values_of_both_methods():
    row = row_of(compare_methods(table(a=[0.5, math.nan, 0.7], b=[0.4, 0.4, math.nan]), SETTINGS), "Dice")
    assert row["n"] == 1


def test_no_method_is_better_in_a_metric_that_only_describes(monkeypatch):
    descriptive = replace(OVERLAP, metrics=tuple(replace(metric, better="none") for metric in OVERLAP.metrics))
    frame = table(ours=np.linspace(0.80, 0.90, 12), theirs=np.linspace(0.70, 0.85, 12))
    assert row_of(compare_methods(frame, SETTINGS), "Dice")["better"] == "ours"
    monkeypatch.setitem(GROUPS, "overlap", descriptive)
    row = row_of(compare_methods(frame, SETTINGS), "Dice")
    assert row["p_holm"] < 0.05 and row["better"] == ""
