"""SER's trainers also save when the last checkpoint is older than SER_CHECKPOINT_SECONDS, and keep their save_every."""

import time

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.errors import UserError
from ser_nnunet.training.variants import SERTrainerNoSAM


@pytest.fixture
def trainer(make_trainer, tmp_path, monkeypatch):
    """A trainer whose epochs do nothing but what nnU-Net does with `save_every` at their end."""

    def end_epoch(self):
        if (self.current_epoch + 1) % self.save_every == 0:
            self.save_checkpoint(str(tmp_path / "model" / "checkpoint_latest.pth"))
        self.current_epoch += 1

    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: None)
    monkeypatch.setattr(nnUNetTrainer, "on_epoch_end", end_epoch)
    found = make_trainer(SERTrainerNoSAM)
    found.output_folder = str(tmp_path / "model")
    return found


@pytest.mark.parametrize(("seconds", "saved"), [(None, []), ("0", [1, 2, 3]), ("1000", []), ("60", [2])])
def test_checkpoints_follow_the_clock(trainer, tmp_path, monkeypatch, seconds, saved):
    monkeypatch.delenv("SER_CHECKPOINT_SECONDS", raising=False)
    if seconds is not None:
        monkeypatch.setenv("SER_CHECKPOINT_SECONDS", seconds)
    trainer.on_train_start()
    latest, begin, found = tmp_path / "model" / "checkpoint_latest.pth", time.monotonic(), []
    for epoch in (1, 2, 3):  # 40 s each
        now = begin + 40 * epoch
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        trainer.on_epoch_end()
        found += [epoch] if latest.is_file() else []
        latest.unlink(missing_ok=True)
    assert found == saved
    assert trainer.save_every == 50


@pytest.mark.parametrize("text", ["10m", "-1", "nan"])
def test_what_is_no_number_of_seconds_is_refused_before_the_first_epoch(trainer, monkeypatch, text):
    monkeypatch.setenv("SER_CHECKPOINT_SECONDS", text)
    with pytest.raises(UserError, match=f"SER_CHECKPOINT_SECONDS: a number of seconds expected, '{text}' found"):
        trainer.on_train_start()
