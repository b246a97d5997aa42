"""Intervals, curves and tables on numbers whose answer can be seen."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ser_nnunet.benchmark.accuracy_tables import compare_trainers, method_name, readable
from ser_nnunet.benchmark.compare import compare, mean_of, values_of
from ser_nnunet.benchmark.costs import cost_table, readable_costs
from ser_nnunet.benchmark.curves import draw_curves, iterations_to_reach, read_curves
from ser_nnunet.benchmark.runs import Run
from ser_nnunet.benchmark.tables import markdown_table, span, words, write_results


def test_a_difference_that_is_the_same_in_every_case_has_an_interval_of_no_width():
    hard_and_easy = np.array([[[0.2], [0.5], [0.9]]])  # one seed, three cases, one class
    table = compare({"A": hard_and_easy, "B": hard_and_easy + 0.05}).set_index("trainer")
    assert table.loc["B", ["difference", "difference_low", "difference_high"]].tolist() == pytest.approx([0.05] * 3)
    assert table.loc["A", "mean_high"] - table.loc["A", "mean_low"] > 0.3  # cases differ, and that cancels out above


def test_seeds_widen_the_interval_when_trainings_differ():
    case = np.linspace(0.7, 0.8, 20)[:, None]
    alike, apart = np.stack([case, case]), np.stack([case - 0.2, case + 0.2])
    narrow = compare({"A": alike, "B": alike + 0.01}).iloc[1]
    wide = compare({"A": alike, "B": apart + 0.01}).iloc[1]
    assert narrow["difference"] == pytest.approx(wide["difference"])
    assert wide["difference_high"] - wide["difference_low"] > 0.3
    assert narrow["difference_high"] - narrow["difference_low"] < 1e-9


def test_undefined_values_are_left_out_and_classes_weigh_the_same():
    # Class one: 1 and undefined; class two: 0 and 0.5.
    assert mean_of(np.array([[[1.0, 0.0], [math.nan, 0.5]]])) == pytest.approx((1 + 0.25) / 2)


def test_a_case_undefined_for_one_trainer_is_left_out_of_its_pair_alone():
    one, other, third = ([[[0.8], [value]]] for value in (math.nan, 0.0, math.nan))
    table = compare({"A": np.array(one), "B": np.array(other), "C": np.array(third) / 2}).set_index("trainer")
    assert table.loc["B", ["difference", "ratio", "n"]].tolist() == [0, 1, 1]  # the means would say -0.4
    assert table.loc["B", "mean"] == pytest.approx(0.4) and table.loc["A", "mean"] == pytest.approx(0.8)
    assert table.loc["C", "difference"] == pytest.approx(-0.4)
    alone = compare({"A": np.array([[[math.nan]]]), "B": np.array([[[1.0]]])}).iloc[1]
    assert alone["n"] == 0 and math.isnan(alone["difference"])


def test_ratio_to_a_baseline_of_zero_is_no_number():
    row = compare({"A": np.zeros((1, 2, 1)), "B": np.ones((1, 2, 1))}).iloc[1]
    assert row["difference"] == 1 and math.isnan(row["ratio"]) and math.isnan(row["ratio_low"])
    table = pd.DataFrame([row]).assign(metric="Dice", **{"class": "lesion"})
    assert readable(table)["of the first"].tolist() == ["-"]


def test_values_find_their_seed_case_and_class():
    rows = [
        (method, case, name, method_at + case_at + class_at)
        for method, method_at in (("T seed 1", 100), ("T seed 2", 200))
        for case, case_at in (("a", 10), ("b", 20))
        for name, class_at in (("one", 1), ("two", 2))
    ]
    cases = pd.DataFrame(rows, columns=["method", "case", "class", "Dice"]).sample(frac=1, random_state=3)
    cases = cases.sort_values("case", kind="stable")
    values = values_of(cases, {"T": ["T seed 1", "T seed 2"]}, "Dice")["T"]
    names = list(dict.fromkeys(cases["class"]))
    assert values[1, 0, names.index("two")] == 212 and values[0, 1, names.index("one")] == 121


def write_curve(folder, trainer, dice, seed=0, seconds=1.0):
    run = Run(trainer, seed, folder / f"{trainer}{seed}")
    run.folder.mkdir()
    table = pd.DataFrame({"epoch": range(len(dice)), "pseudo_dice": dice})
    table.assign(iterations=(table["epoch"] + 1) * 10, seconds=seconds).to_csv(run.folder / "curve.csv", index=False)
    return run


def test_iterations_to_reach_the_baselines_last_smoothed_dice(tmp_path):
    runs = [write_curve(tmp_path, "slow", [0.1 * n for n in range(10)]), write_curve(tmp_path, "fast", [0.8] * 10)]
    curves = read_curves(runs)
    # The last five of "slow": 0.5 to 0.9, 0.7 on average; "fast" is above that after its first ten iterations.
    assert iterations_to_reach(curves, "fast", "slow") == 10
    assert iterations_to_reach(curves, "slow", "slow") == 100
    assert math.isnan(iterations_to_reach(curves, "slow", "fast"))
    runs = [write_curve(tmp_path, "dead", [0.0, 0.004]), write_curve(tmp_path, "alive", [0.5, 0.6])]
    assert math.isnan(iterations_to_reach(read_curves(runs), "alive", "dead"))  # not "after ten iterations"
    draw_curves(curves, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_two_seeds_are_one_row_per_trainer_class_and_metric():
    seeds, trainers = [3, 8], {"A": 0.5, "B": 0.6}
    rows = [
        (method_name(trainer, seed, seeds), case, name, dice + at_class, dice)
        for trainer, dice in trainers.items()
        for seed in seeds
        for case in ("a", "b")
        for name, at_class in (("one", 0.0), ("two", 0.2))
    ]
    cases = pd.DataFrame(rows, columns=["method", "case", "class", "Dice", "lesion_F1"])
    methods = {trainer: [method_name(trainer, seed, seeds) for seed in seeds] for trainer in trainers}
    table = compare_trainers(SimpleNamespace(cases=cases, classes=["one", "two"]), methods)
    assert len(table) == 2 * 3 * 2
    indexed = table.set_index(["metric", "class", "trainer"])
    assert indexed.loc[("Dice", "all classes", "B"), "mean"] == pytest.approx(0.7)
    assert indexed.loc[("Dice", "two", "B"), "difference"] == pytest.approx(0.1)
    assert indexed.loc[("lesion_F1", "one", "B"), "ratio"] == pytest.approx(1.2)
    shown = readable(table).set_index(["metric", "class", "trainer"])
    assert shown.loc[("Dice", "all classes", "B"), "minus the first"] == "0.10 (0.10 to 0.10)"


def test_costs_are_means_over_seeds_and_relative_to_the_first(tmp_path):
    runs = []
    for trainer, minutes in (("first", 10), ("second", 5)):
        for seed in (0, 1):
            run = write_curve(tmp_path, trainer, [0.5, 0.6], seed)
            done = {"parameters": 2e6, "batch_size": 8, "iterations": 20, "predict_seconds": 60.0}
            done["train_seconds"] = 60.0 * (minutes + seed)
            (run.folder / "finished.json").write_text(json.dumps(done))
            runs.append(run)
    table = cost_table(runs, read_curves(runs)).set_index("trainer")
    assert table.loc["first", "train_seconds"] == 630 and table.loc["second", "train_seconds"] == 330
    assert table.loc["second", "train_seconds_ratio"] == pytest.approx(330 / 630)
    low, high = table.loc["second", ["train_seconds_ratio_low", "train_seconds_ratio_high"]]
    assert (low, high) == pytest.approx((5 / 10, 6 / 11))  # each seed with its own first
    shown = readable_costs(table.reset_index()).set_index("trainer")
    assert shown.loc["second", "training, of the first"] == "0.52 (0.50 to 0.55)"
    assert shown.loc["second", ["training (min)", "batch", "iterations to reach the first"]].tolist() == [
        "5.50",
        "8",
        "20",
    ]


def test_with_one_seed_epochs_are_paired_and_totals_have_no_range(tmp_path):
    seconds = {"first": [10.0, 20.0, 40.0], "second": [5.0, 10.0, 20.0], "third": [5.0, 5.0, 60.0]}
    runs = [write_curve(tmp_path, trainer, [0.5] * 3, seconds=each) for trainer, each in seconds.items()]
    for run in runs:
        done = {"parameters": 1, "batch_size": 2, "iterations": 30, "predict_seconds": 0.0}
        (run.folder / "finished.json").write_text(json.dumps(done | {"train_seconds": sum(seconds[run.trainer])}))
    shown = readable_costs(cost_table(runs, read_curves(runs))).set_index("trainer")
    # "second" takes half of each epoch, however the epochs differ; "third" 1/2, 1/4 and 3/2 of them, median 5 of 20.
    assert shown["an epoch, of the first (quartiles)"].tolist()[1:] == ["0.50 (0.50 to 0.50)", "0.25 (0.38 to 1.0)"]
    assert shown["training, of the first"].tolist() == ["1.0", "0.50", "1.0"]
    assert shown["prediction, of the first"].tolist() == ["-"] * 3  # no ratio to zero seconds


def test_numbers_are_written_with_significant_digits():
    written = [words(value) for value in (1234567.0, 12.345, 0.012345, 0.0, float("nan"))]
    assert written == ["1,234,567", "12.3", "0.0123", "0", "-"]
    assert span(-0.5, -0.75, 0.25, 2) == "-0.50 (-0.75 to 0.25)"


def test_tables_carry_their_provenance(tmp_path):
    about = {"date": "2030-01-01", "command": "ser-nnunet benchmark size", "torch": "9.9", "load": "0.1"}
    table = pd.DataFrame({"system": ["a|b"], "n": [1]})
    csv, page = write_results(tmp_path, "size", table, [("Sizes", table)], ["counted"], about)
    assert csv.read_text().splitlines() == ["system,n,date,torch", "a|b,1,2030-01-01,9.9"]
    assert "| a\\|b | 1 |" in page.read_text() and "load 0.1" in page.read_text()
    assert markdown_table(table).splitlines()[1] == "| --- | ---: |"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["size.csv", "size.md"]
