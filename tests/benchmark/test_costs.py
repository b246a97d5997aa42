"""Time and size of trainings, relative to the baseline."""

import json

import pytest

from ser_nnunet.benchmark.costs import format_costs, tabulate_costs
from ser_nnunet.benchmark.curves import read_curves
from tests.benchmark.finished_runs import write_curve


def test_costs_are_means_over_seeds_and_relative_to_the_first(tmp_path):
    runs = []
    for trainer, minutes in (("first", 10), ("second", 5)):
        for seed in (0, 1):
            run = write_curve(tmp_path, trainer, [0.5, 0.6], seed)
            done = {"parameters": 2e6, "batch_size": 8, "iterations": 20, "predict_seconds": 60.0}
            done["train_seconds"] = 60.0 * (minutes + seed)
            (run.folder / "finished.json").write_text(json.dumps(done))
            runs.append(run)
    table = tabulate_costs(runs, read_curves(runs)).set_index("trainer")
    assert table.loc["first", "train_seconds"] == 630 and table.loc["second", "train_seconds"] == 330
    assert table.loc["second", "train_seconds_ratio"] == pytest.approx(330 / 630)
    low, high = table.loc["second", ["train_seconds_ratio_low", "train_seconds_ratio_high"]]
    assert (low, high) == pytest.approx((5 / 10, 6 / 11))  # each seed with its own first
    shown = format_costs(table.reset_index()).set_index("trainer")
    assert shown.loc["second", "training, of the baseline"] == "0.52 (0.50 to 0.55)"
    assert shown.loc["second", ["training (min)", "batch", "iterations to reach the baseline"]].tolist() == [
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
    shown = format_costs(tabulate_costs(runs, read_curves(runs))).set_index("trainer")
    # "second" takes half of each epoch, however the epochs differ; "third" 1/2, 1/4 and 3/2 of them, median 5 of 20.
    assert shown["an epoch, of the baseline (quartiles)"].tolist()[1:] == ["0.50 (0.50 to 0.50)", "0.25 (0.38 to 1.0)"]
    assert shown["training, of the baseline"].tolist() == ["1.0", "0.50", "1.0"]
    assert shown["prediction, of the baseline"].tolist() == ["not defined"] * 3  # no ratio to zero seconds


def test_folds_are_averaged_and_each_is_paired_with_its_own(tmp_path):
    runs = []
    for trainer, minutes in (("first", (10, 30)), ("second", (5, 6))):
        for fold in (0, 1):
            run = write_curve(tmp_path, trainer, [0.5, 0.6], fold=fold, seconds=minutes[fold] * 30.0)
            done = {"parameters": 2e6, "batch_size": 8, "iterations": 20, "predict_seconds": 60.0}
            (run.folder / "finished.json").write_text(json.dumps(done | {"train_seconds": 60.0 * minutes[fold]}))
            runs.append(run)
    row = tabulate_costs(runs, read_curves(runs)).set_index("trainer").loc["second"]
    assert row["train_seconds"] == 330 and row["train_seconds_ratio"] == pytest.approx(5.5 / 20)
    assert row[["train_seconds_ratio_low", "train_seconds_ratio_high"]].tolist() == [6 / 30, 5 / 10]
    assert row[["epoch_seconds_ratio_q1", "epoch_seconds_ratio_q3"]].tolist() == [6 / 30, 5 / 10]
