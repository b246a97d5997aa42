"""Interleaving and ratios on made-up clocks, and the real tasks once."""

import json

import numpy as np
import pandas as pd
import torch

from ser_nnunet.benchmark import timing
from ser_nnunet.benchmark.speed import summarise
from ser_nnunet.benchmark.timed_tasks import predictions, training_steps
from ser_nnunet.cli import main
from ser_nnunet.nnunet.plans import Planned
from tests.benchmark.conftest import DATASET_JSON, tiny_plans


def test_tasks_take_turns_and_the_warm_up_does_not_count(monkeypatch):
    clock, order = [0.0], []

    def task(name, seconds):
        def run():
            order.append(name)
            clock[0] += seconds[min(order.count(name), len(seconds)) - 1]

        return run

    monkeypatch.setattr(timing, "perf_counter", lambda: clock[0])
    # The first call of "A" is slow, as first calls are.
    seconds = timing.interleave({"A": task("A", [9, 2, 4]), "B": task("B", [9, 1, 1])}, rounds=2, warmup=1)
    assert order == ["A", "B"] * 3
    assert seconds.to_dict("list") == {"A": [2, 4], "B": [1, 1]}


def test_ratios_are_taken_within_rounds():
    # The machine is three times as slow in the second round and ten times in the third: B takes half throughout.
    rounds = pd.DataFrame({"A": [2.0, 6.0, 20.0], "B": [1.0, 3.0, 10.0]})
    table = timing.summarise_times(rounds).set_index("system")
    assert table.loc["B", ["ratio_q1", "ratio", "ratio_q3"]].tolist() == [0.5, 0.5, 0.5]
    assert table.loc["A", ["seconds_q1", "seconds", "seconds_q3"]].tolist() == [4.0, 6.0, 13.0]


def test_every_task_is_summarised_on_its_own():
    rounds = pd.DataFrame(
        [("step", "nnU-Net", 0, 8.0), ("step", "SERNet light", 0, 2.0), ("one slice", "nnU-Net", 0, 1.0)],
        columns=["task", "system", "round", "seconds"],
    )
    assert summarise(rounds)[["task", "system", "ratio"]].to_numpy().tolist() == [
        ["step", "nnU-Net", 1.0],
        ["step", "SERNet light", 0.25],
        ["one slice", "nnU-Net", 1.0],
    ]


def test_timed_steps_train_and_timed_predictions_predict(tmp_path):
    planned = Planned(tiny_plans(), "2d", DATASET_JSON)
    steps = training_steps(planned, 2, torch.device("cpu"), tmp_path, None, None)
    assert list(steps) == ["nnU-Net", "SERNet light", "SERNet paper"]
    for name in ("nnU-Net", "SERNet light"):
        first, *_, last = [float(steps[name]()["loss"]) for _ in range(12)]
        assert last < first  # the same batch again and again: the optimiser must get somewhere
    logits = predictions(planned, (2, 32, 40), torch.device("cpu"), mirroring=True)["SERNet light"]()
    assert logits.shape == (2, 2, 32, 40)


def test_regions_get_one_target_map_each(tmp_path):
    regions = DATASET_JSON | {
        "labels": {"background": 0, "whole": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
    }
    planned = Planned(tiny_plans(), "2d", regions)
    for step in list(training_steps(planned, 2, torch.device("cpu"), tmp_path, None, None).values())[:2]:
        assert np.isfinite(step()["loss"])


def test_all_impossible_settings_are_told_at_once(tmp_path, capsys):
    plans = tmp_path / "nnUNetPlans.json"
    plans.write_text(json.dumps(tiny_plans()))
    wrong = ["--rounds", "0", "--slices", "0", "--sam-checkpoint", "gone.pth", "--sam-encoder-sizes", "100"]
    assert main(["benchmark", "speed", "-plans", str(plans), *wrong, "-o", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert all(part in message for part in ("--rounds", "--slices", "gone.pth: no such file", "16"))
