"""`benchmark speed` from the command to its tables."""

import pandas as pd
import pytest
import torch

from ser_nnunet.benchmark import speed
from ser_nnunet.benchmark.benchmark_settings import PlanSettings, SpeedSettings
from ser_nnunet.benchmark.speed import run_speed, summarise_tasks
from ser_nnunet.cli import main
from tests.benchmark.tiny_dataset import write_plans


def test_every_task_is_summarised_on_its_own():
    rounds = pd.DataFrame(
        [("step", "nnU-Net", 0, 8.0), ("step", "SERNet light", 0, 2.0), ("one slice", "nnU-Net", 0, 1.0)],
        columns=["task", "system", "round", "seconds"],
    )
    assert summarise_tasks(rounds)[["task", "system", "ratio"]].to_numpy().tolist() == [
        ["step", "nnU-Net", 1.0],
        ["step", "SERNet light", 0.25],
        ["one slice", "nnU-Net", 1.0],
    ]


def test_all_impossible_settings_are_reported_at_once(tmp_path, capsys):
    plans = write_plans(tmp_path)
    wrong = ["--sam-checkpoint", "gone.pth", "--sam-encoder-sizes", "100"]
    assert main(["benchmark", "speed", "-plans", str(plans), *wrong, "-o", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert all(part in message for part in ("gone.pth: no such file", "multiples of SAM's patch of 16"))


@pytest.mark.parametrize(("device", "threads", "used"), [("cuda", None, 1), ("cuda", 4, 4), ("cpu", 2, 2)])
def test_device_and_threads_are_set_as_nnunet_does_before_anything_is_timed(device, threads, used, monkeypatch):
    calls = []
    monkeypatch.setattr(speed, "use_device", lambda *arguments: calls.append(arguments))

    class Reached(Exception):
        pass

    def stop(_):
        raise Reached

    monkeypatch.setattr(speed, "load_plans", stop)
    with pytest.raises(Reached):
        run_speed(SpeedSettings(PlanSettings("1"), device=device, threads=threads))
    assert calls == [(device, used)]


def test_the_command_writes_medians_and_every_round(tmp_path):
    threads, out = torch.get_num_threads(), tmp_path / "out"
    command = ["benchmark", "speed", "-plans", str(write_plans(tmp_path)), "--rounds", "2", "--warmup", "0"]
    try:
        assert main([*command, "--slices", "1", "--threads", "1", "-device", "cpu", "-o", str(out)]) == 0
    finally:
        torch.set_num_threads(threads)
    rounds = pd.read_csv(out / "speed_rounds.csv")
    assert rounds.groupby(["task", "system"]).size().tolist() == [2] * 9
    table = pd.read_csv(out / "speed.csv").set_index(["task", "system"])
    first = rounds[(rounds["task"] == "prediction") & (rounds["system"] == "SERNet light")]["seconds"]
    assert table.loc[("prediction", "SERNet light"), "seconds"] == pytest.approx(first.median())
    assert table["ratio"].xs("nnU-Net", level="system").tolist() == [1, 1, 1]
    page = (out / "speed.md").read_text()
    assert "torch threads 1" in page and "Prediction with mirroring (volume 1 x 32 x 32)" in page
