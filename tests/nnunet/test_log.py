"""nnU-Net's per-epoch log: adding values and reading them."""

import math
from pathlib import Path

import matplotlib
import pytest
from nnunetv2.training.logging.nnunet_logger import MetaLogger

from ser_nnunet.nnunet.log import add_logged_values, epoch_log, epoch_seconds
from ser_nnunet.nnunet.log_picture import draw_log


class Trainer:
    """All of a trainer that the log needs: nnU-Net's logger."""

    def __init__(self, folder):
        self.logger = MetaLogger(folder, resume=False)


@pytest.fixture
def trainer(tmp_path):
    return Trainer(tmp_path)


def test_an_added_value_can_be_logged_every_epoch(trainer):
    with pytest.raises(AssertionError):
        trainer.logger.log("mine", 1.0, 0)
    add_logged_values(trainer, ["mine"])
    trainer.logger.log("mine", 1.0, 0)
    trainer.logger.log("mine", 2.0, 1)
    assert epoch_log(trainer)["mine"] == [1.0, 2.0]


def test_epochs_before_a_value_was_added_get_nan(trainer):
    for epoch in range(2):
        trainer.logger.log("train_losses", 0.5, epoch)
    add_logged_values(trainer, ["mine"])
    trainer.logger.log("mine", 3.0, 2)
    values = epoch_log(trainer)["mine"]
    assert [math.isnan(value) for value in values] == [True, True, False]


def test_a_loaded_log_keeps_its_values(trainer, tmp_path):
    add_logged_values(trainer, ["mine"])
    trainer.logger.log("mine", 1.0, 0)
    trainer.logger.log("train_losses", 0.5, 0)
    resumed = Trainer(tmp_path)
    resumed.logger.load_checkpoint(trainer.logger.get_checkpoint())
    add_logged_values(resumed, ["mine"])
    assert epoch_log(resumed)["mine"] == [1.0]


def test_epoch_seconds_leave_an_unfinished_epoch_out(trainer):
    for epoch, (start, end) in enumerate([(100.0, 103.5), (110.0, 111.0)]):
        trainer.logger.log("epoch_start_timestamps", start, epoch)
        trainer.logger.log("epoch_end_timestamps", end, epoch)
    trainer.logger.log("epoch_start_timestamps", 120.0, 2)
    assert epoch_seconds(trainer) == [3.5, 1.0]


def test_the_picture_shows_every_curve_with_its_name_and_the_end_of_the_phase(tmp_path, monkeypatch):
    shown = {}

    def look(figure, file, **settings):
        for axes in figure.axes:
            shown[axes.get_ylabel()] = {line.get_label(): list(line.get_xdata()) for line in axes.get_lines()}
        Path(file).write_bytes(b"drawn")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    nan = math.nan
    log = {"train_losses": [0, 0, 0], "a": [1.0, 2.0, 3.0], "b": [1.0, nan, nan]}
    draw_log(log, {"loss": {"A": "a", "B": "b"}, "Dice": {"C": "b"}}, tmp_path / "picture.png", phase_end=1)
    assert {label: list(curves) for label, curves in shown.items()} == {
        "loss": ["A", "B", "SAM is released"],
        "Dice": ["C", "SAM is released"],
    }
    assert set(shown["loss"]["SAM is released"]) == {0.5}
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]


def test_the_picture_does_not_change_nnunets_own(tmp_path):
    before = dict(matplotlib.rcParams)
    draw_log({"train_losses": [0], "a": [1.0]}, {"loss": {"A": "a"}}, tmp_path / "picture.png")
    assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
