"""Intervals and pairing on numbers whose answer can be worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from ser_nnunet.benchmark.compare import collect_values, compare_with_first, mean_over_classes


def compare(values):
    """Compare trainers with the first, every case of another patient."""
    return compare_with_first(values, range(next(iter(values.values())).shape[1]))


def test_a_difference_that_is_the_same_in_every_case_has_an_interval_of_no_width():
    hard_and_easy = np.array([[[0.2], [0.5], [0.9]]])  # one seed, three cases, one class
    table = compare({"A": hard_and_easy, "B": hard_and_easy + 0.05}).set_index("trainer")
    assert table.loc["B", ["difference", "difference_low", "difference_high"]].tolist() == pytest.approx([0.05] * 3)
    assert table.loc["A", "mean_high"] - table.loc["A", "mean_low"] > 0.3  # cases differ, and that cancels out above


def test_seeds_widen_the_interval_when_trainings_differ():
    case = np.linspace(0.7, 0.8, 20)[:, None]
    alike, different = np.stack([case, case]), np.stack([case - 0.2, case + 0.2])
    narrow = compare({"A": alike, "B": alike + 0.01}).iloc[1]
    wide = compare({"A": alike, "B": different + 0.01}).iloc[1]
    assert narrow["difference"] == pytest.approx(wide["difference"])
    assert wide["difference_high"] - wide["difference_low"] > 0.3
    assert narrow["difference_high"] - narrow["difference_low"] < 1e-9


def test_undefined_values_are_left_out_and_classes_weigh_the_same():
    # Class one: 1 and undefined; class two: 0 and 0.5.
    assert mean_over_classes(np.array([[[1.0, 0.0], [math.nan, 0.5]]])) == pytest.approx((1 + 0.25) / 2)


def test_a_case_undefined_for_one_trainer_is_left_out_of_its_pair_alone():
    one, other, third = ([[[0.8], [value]]] for value in (math.nan, 0.0, math.nan))
    table = compare({"A": np.array(one), "B": np.array(other), "C": np.array(third) / 2}).set_index("trainer")
    assert table.loc["B", ["difference", "ratio", "n"]].tolist() == [0, 1, 1]  # the means would say -0.4
    assert table.loc["B", "mean"] == pytest.approx(0.4) and table.loc["A", "mean"] == pytest.approx(0.8)
    assert table.loc["C", "difference"] == pytest.approx(-0.4)
    alone = compare({"A": np.array([[[math.nan]]]), "B": np.array([[[1.0]]])}).iloc[1]
    assert alone["n"] == 0 and math.isnan(alone["difference"])


def test_ratio_to_a_baseline_of_zero_is_undefined():
    row = compare({"A": np.zeros((1, 2, 1)), "B": np.ones((1, 2, 1))}).iloc[1]
    assert row["difference"] == 1 and math.isnan(row["ratio"]) and math.isnan(row["ratio_low"])


def test_values_find_their_seed_case_and_class():
    rows = [
        (method, case, name, method_at + case_at + class_at)
        for method, method_at in (("T seed 1", 100), ("T seed 2", 200))
        for case, case_at in (("a", 10), ("b", 20))
        for name, class_at in (("one", 1), ("two", 2))
    ]
    cases = pd.DataFrame(rows, columns=["method", "case", "class", "Dice"]).sample(frac=1, random_state=3)
    cases = cases.sort_values("case", kind="stable")
    values = collect_values(cases, {"T": ["T seed 1", "T seed 2"]}, "Dice")["T"]
    names = list(dict.fromkeys(cases["class"]))
    assert values[1, 0, names.index("two")] == 212 and values[0, 1, names.index("one")] == 121


def test_scans_that_repeat_others_of_their_patient_do_not_narrow_the_interval():
    random = np.random.default_rng(0)
    single = {name: random.uniform(size=(2, 6, 1)) for name in "AB"}
    doubled = {name: np.concatenate([each, each], axis=1) for name, each in single.items()}
    numbers = ["mean", "mean_low", "mean_high", "difference_low", "difference_high", "ratio_low", "ratio_high"]
    expected = compare_with_first(single, list("pqrstu"))[numbers].to_numpy()
    grouped = compare_with_first(doubled, list("pqrstupqrstu"))
    assert grouped[numbers].to_numpy() == pytest.approx(expected, abs=1e-12)
    assert grouped["n"].tolist() == [12, 12] and grouped["patients"].tolist() == [6, 6]
    independent = compare(doubled)
    widths = [(table["mean_high"] - table["mean_low"]).iloc[0] for table in (independent, grouped)]
    assert widths[0] < 0.9 * widths[1]


def test_all_scans_of_a_drawn_patient_count():
    # Patient p has one scan, q three: drawn are p alone, both, or q alone, with means of 0, 3/4 and 1.
    row = compare_with_first({"A": np.array([[[0.0], [1.0], [1.0], [1.0]]])}, ["p", "q", "q", "q"]).iloc[0]
    assert (row["mean"], row["mean_low"], row["mean_high"]) == (0.75, 0, 1)
    row = compare_with_first({"A": np.array([[[0.2], [0.4]]])}, ["p", "p"]).iloc[0]
    assert row["mean"] == pytest.approx(0.3) and row[["mean_low", "mean_high", "ratio_low"]].isna().all()


def test_one_compared_patient_has_no_interval_of_the_difference():
    row = compare({"A": np.array([[[0.8], [math.nan]]]), "B": np.array([[[0.6], [0.5]]])}).iloc[1]
    assert row["difference"] == pytest.approx(-0.2) and math.isnan(row["difference_low"]) and row["patients"] == 1
    assert (row["mean_low"], row["mean_high"]) == (0.5, 0.6)
