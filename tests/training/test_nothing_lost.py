"""What a training must not lose: whole checkpoints, finite weights, its folder for itself, the same SAM throughout."""

import copy
import math
import shutil

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.log import epoch_log
from ser_nnunet.sam.dummy_sam import build_dummy_sam
from ser_nnunet.training.trainer import SERTrainer
from ser_nnunet.training.variants import SERTrainerJoint, SERTrainerNoSAM, SERTrainerTwoPhases
from ser_nnunet.utils.hashing import file_sha256
from tests.training.helpers import GUIDED, start_epoch


class TestSaving:
    """A checkpoint is written completely or not at all."""

    @pytest.fixture
    def trainer(self, make_trainer, tmp_path):
        (tmp_path / "model").mkdir()
        return make_trainer(SERTrainerNoSAM)

    def test_a_checkpoint_is_all_that_is_left_in_its_folder(self, trainer, tmp_path):
        trainer.save_checkpoint(str(tmp_path / "model" / "checkpoint.pth"))
        assert [file.name for file in (tmp_path / "model").iterdir()] == ["checkpoint.pth"]
        assert "network_weights" in torch.load(tmp_path / "model" / "checkpoint.pth", weights_only=False)

    def test_an_error_while_saving_keeps_the_last_checkpoint(self, trainer, tmp_path, monkeypatch):
        last = tmp_path / "model" / "checkpoint.pth"
        last.write_bytes(b"whole")

        def fail(content, file):
            with open(file, "wb") as stream:  # noqa: PTH123 (nnU-Net's paths are strings)
                stream.write(b"ha")
            raise OSError("No space left on device")

        monkeypatch.setattr(torch, "save", fail)
        with pytest.raises(OSError, match="No space left"):
            trainer.save_checkpoint(str(last))
        assert last.read_bytes() == b"whole"
        assert [file.name for file in last.parent.iterdir()] == ["checkpoint.pth"]

    @pytest.mark.parametrize("setting", [{"disable_checkpointing": True}, {"local_rank": 1}])
    def test_nothing_is_written_with_checkpoints_disabled_nor_by_the_second_gpu(self, trainer, tmp_path, setting):
        last = tmp_path / "model" / "checkpoint.pth"
        last.write_bytes(b"whole")
        for name, value in setting.items():
            setattr(trainer, name, value)
        trainer.save_checkpoint(str(last))
        assert last.read_bytes() == b"whole"
        assert [file.name for file in last.parent.iterdir()] == ["checkpoint.pth"]


@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_second_training_in_the_same_folder_is_refused(make_trainer, tmp_path, monkeypatch, checkpoints):
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: None)
    monkeypatch.setattr(nnUNetTrainer, "on_train_end", lambda self: None)
    first, second = make_trainer(SERTrainerNoSAM), make_trainer(SERTrainerNoSAM)
    first.output_folder = second.output_folder = str(tmp_path / "model" / "fold_0")
    first.disable_checkpointing = second.disable_checkpointing = not checkpoints
    first.on_train_start()
    with pytest.raises(UserError, match=r"a training in .*fold_0 is running already \(process \d+ of .*, since"):
        second.on_train_start()
    first.on_train_end()
    second.on_train_start()


def test_no_training_begins_where_a_model_is_being_validated(make_trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: None)
    trained, other = make_trainer(SERTrainerNoSAM), make_trainer(SERTrainerNoSAM)
    trained.output_folder = other.output_folder = str(tmp_path / "model" / "fold_0")

    def validate(self, save_probabilities):
        with pytest.raises(UserError, match=r"a training in .*fold_0 is running already"):
            other.on_train_start()

    monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", validate)
    trained.perform_actual_validation()
    other.on_train_start()


def test_a_training_that_runs_can_be_validated_from_elsewhere(make_trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: None)
    monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", lambda self, save_probabilities: None)
    training, validating, third = (make_trainer(SERTrainerNoSAM) for _ in range(3))
    for trainer in (training, validating, third):
        trainer.output_folder = str(tmp_path / "model" / "fold_0")
    training.on_train_start()
    validating.perform_actual_validation()
    with pytest.raises(UserError, match="is running already"):
        third.on_train_start()


def test_checkpoints_load_without_running_code(make_trainer, make_batch, sam_checkpoint, tmp_path):
    trainer = make_trainer()
    trainer.output_folder = str(tmp_path)
    start_epoch(trainer, GUIDED)
    trainer.on_train_epoch_end([trainer.train_step(make_batch())])
    trainer.on_validation_epoch_start()
    trainer.on_validation_epoch_end([trainer.validation_step(make_batch())])
    trainer._best_ema = epoch_log(trainer)["ema_fg_dice"][-1]
    before = copy.deepcopy(epoch_log(trainer))
    assert any(isinstance(value, np.generic) for values in before.values() for value in values), "as nnU-Net logs"
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    content = torch.load(tmp_path / "checkpoint.pth", weights_only=True)
    np.testing.assert_equal(content["logging"], before)
    trainer.load_checkpoint(str(tmp_path / "checkpoint.pth"))


def test_a_training_of_the_former_sertrainer_is_not_continued_by_another_method(
    make_trainer, sam_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: None)
    trainer = make_trainer(SERTrainer)
    trainer.save_checkpoint(str(tmp_path / "new.pth"))
    content = torch.load(tmp_path / "new.pth", weights_only=True)
    content["ser_nnunet"]["version"] = "0.2.0"
    content["current_epoch"] = 3
    torch.save(content, tmp_path / "old.pth")
    for begun in (SERTrainer, type("Mine", (SERTrainer,), {"num_epochs": 100})):
        trainer = make_trainer(begun)
        trainer.load_checkpoint(str(tmp_path / "old.pth"))  # --val may
        with pytest.raises(UserError, match=r"3 epochs .* rename the folder .* -tr SERTrainerTwoPhases --c"):
            trainer.on_train_start()

    others = (SERTrainerTwoPhases, "old"), (SERTrainerJoint, "old"), (SERTrainerNoSAM, "old"), (SERTrainer, "new")
    for continued, checkpoint in others:
        trainer = make_trainer(continued)
        trainer.output_folder = str(tmp_path / continued.__name__ / "fold_0")
        trainer.load_checkpoint(str(tmp_path / f"{checkpoint}.pth"))
        trainer.on_train_start()


class TestRecordOfSam:
    """Another SAM on resuming is noticed."""

    def begin(self, make_trainer, folder, epoch):
        trainer, lines = make_trainer(), []
        trainer.output_folder = str(folder)
        trainer.print_to_log_file = lambda *words, **_: lines.append(" ".join(map(str, words)))
        start_epoch(trainer, epoch)
        return "\n".join(lines)

    def test_the_log_has_its_sha256(self, make_trainer, sam_checkpoint, tmp_path):
        assert file_sha256(sam_checkpoint) in self.begin(make_trainer, tmp_path, 0)

    def test_the_same_sam_under_another_name_is_no_other_sam(self, make_trainer, sam_checkpoint, tmp_path, monkeypatch):
        self.begin(make_trainer, tmp_path, 0)
        monkeypatch.setenv("SER_SAM_CHECKPOINT", str(shutil.copy(sam_checkpoint, tmp_path / "copy.pth")))
        assert "WARNING" not in self.begin(make_trainer, tmp_path, 5)

    def test_another_sam_is_a_warning_with_both(self, make_trainer, sam_checkpoint, tmp_path, monkeypatch):
        self.begin(make_trainer, tmp_path, 0)
        torch.save(build_dummy_sam(seed=5, image_size=64).state_dict(), tmp_path / "other.pth")
        monkeypatch.setenv("SER_SAM_CHECKPOINT", str(tmp_path / "other.pth"))
        shown = self.begin(make_trainer, tmp_path, 5)
        assert f"WARNING: until epoch 5 another SAM guided this training: {sam_checkpoint}" in shown
        assert file_sha256(sam_checkpoint) in shown and file_sha256(tmp_path / "other.pth") in shown
        assert "WARNING" not in self.begin(make_trainer, tmp_path, 0), "a new training in the folder"

    def test_a_second_training_that_is_refused_leaves_the_record_as_it_is(
        self, make_trainer, sam_checkpoint, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: None)
        first, second = make_trainer(), make_trainer()
        first.output_folder = second.output_folder = str(tmp_path)
        first.on_train_start()
        start_epoch(first, 0)
        before = (tmp_path / "sam_guidance.json").read_text()
        torch.save(build_dummy_sam(seed=5, image_size=64).state_dict(), tmp_path / "other.pth")
        monkeypatch.setenv("SER_SAM_CHECKPOINT", str(tmp_path / "other.pth"))
        with pytest.raises(UserError, match="is running already"):
            second.on_train_start()
        assert (tmp_path / "sam_guidance.json").read_text() == before
        assert second.guidance is None


class TestNonFiniteNumbers:
    """A training stops at the first loss that is NaN or Inf, says why, and keeps its last good checkpoint."""

    @pytest.fixture
    def trainer(self, make_trainer, tmp_path):
        trainer = make_trainer(SERTrainerNoSAM)
        trainer.output_folder = str(tmp_path / "model")
        (tmp_path / "model").mkdir()
        trainer.save_checkpoint(str(tmp_path / "model" / "checkpoint_latest.pth"))
        start_epoch(trainer, 3)
        return trainer

    def test_the_batch_and_the_case_with_nan_are_named(self, trainer, make_batch, tmp_path):
        batch = make_batch() | {"keys": ["a", "b", "c", "d"]}
        trainer.train_step(batch)
        batch["data"][2, 0, 5, 5] = math.nan
        with pytest.raises(UserError) as stopped:
            trainer.train_step(batch)
        message = str(stopped.value)
        assert "epoch 3, batch 2 of 250 (cases a, b, c, d): L_dist is nan" in message
        assert "the images of c hold NaN or Inf" in message
        assert f"The last checkpoint is kept: {tmp_path / 'model' / 'checkpoint_latest.pth'}" in message

    @pytest.mark.parametrize(
        ("others", "advice"),
        [
            ([], "--c continues from checkpoint_latest.pth"),
            (["checkpoint_best.pth"], "--c continues from checkpoint_latest.pth"),
            (["checkpoint_final.pth"], "move checkpoint_final.pth, of a finished training, away before"),
        ],
    )
    def test_the_advice_names_the_checkpoint_that_nnunet_would_continue_from(
        self, trainer, make_batch, tmp_path, others, advice
    ):
        for name in others:
            trainer.save_checkpoint(str(tmp_path / "model" / name))
        batch = make_batch()
        batch["data"][0] = math.nan
        with pytest.raises(UserError, match=advice):
            trainer.train_step(batch)

    def test_a_loss_that_explodes_over_finite_images_names_the_learning_rate(self, trainer, make_batch):
        loss = trainer.loss
        trainer.loss = lambda *arguments: loss(*arguments) * math.inf
        with pytest.raises(UserError, match=r"L_dist is inf.*images are finite; a lower initial_lr \(now 0\.002\)"):
            trainer.train_step(make_batch())

    def test_batches_are_counted_anew_in_every_epoch(self, trainer, make_batch):
        trainer.train_step(make_batch())
        start_epoch(trainer, 4)
        trainer.loss = lambda *arguments: trainer.network(make_batch()["data"])[0].sum() * math.nan
        with pytest.raises(UserError, match="epoch 4, batch 1 of"):
            trainer.train_step(make_batch())

    def test_weights_that_are_not_finite_never_replace_a_checkpoint(self, trainer, tmp_path):
        last = tmp_path / "model" / "checkpoint_latest.pth"
        before = last.read_bytes()
        next(trainer.network.parameters()).data.fill_(math.nan)
        with pytest.raises(UserError, match=r"tensors of the network hold NaN or Inf.*checkpoint_latest\.pth is not"):
            trainer.save_checkpoint(str(last))
        assert last.read_bytes() == before and [file.name for file in last.parent.iterdir()] == [last.name]
