"""SER's trainers obey nnU-Net's own settings under nnU-Net's names, wherever a subclass sets them."""

from pathlib import Path

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.training_length.nnUNetTrainer_Xepochs import nnUNetTrainer_5epochs

from ser_nnunet.nnunet.base_trainer import RENAMED, SETTINGS
from ser_nnunet.training.paper import SERTrainerPaper
from ser_nnunet.training.variants import SERTrainerNoSAM, SERTrainerTwoPhases
from tests.training.helpers import DATASETS, make_plans

CHANGED = {
    "num_epochs": 7,
    "num_iterations_per_epoch": 3,
    "num_val_iterations_per_epoch": 2,
    "initial_lr": 0.5,
    "weight_decay": 0.25,
    "oversample_foreground_percent": 0.6,
    "probabilistic_oversampling": True,
    "save_every": 1,
}


class Settings:
    """A mixin, which knows nothing of nnU-Net."""

    num_epochs = 7
    num_iterations_per_epoch = 3
    num_val_iterations_per_epoch = 2
    initial_lr = 0.5
    weight_decay = 0.25
    oversample_foreground_percent = 0.6
    probabilistic_oversampling = True
    save_every = 1


class ByMixin(Settings, SERTrainerTwoPhases):
    pass


class ByAttribute(SERTrainerTwoPhases):
    num_epochs = 7
    num_iterations_per_epoch = 3
    num_val_iterations_per_epoch = 2
    initial_lr = 0.5
    weight_decay = 0.25
    oversample_foreground_percent = 0.6
    probabilistic_oversampling = True
    save_every = 1


class InInit(SERTrainerTwoPhases):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        for name, value in CHANGED.items():
            setattr(self, name, value)


def check(trainer):
    """The trainer has the changed settings, and its optimiser, schedules and phases were built from them."""
    assert {name: getattr(trainer, name) for name in CHANGED} == CHANGED
    groups = trainer.optimizer.param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.5, 0.25)] * 2
    assert trainer.schedule.guided_epochs == 4
    for epoch, rate in ((0, 0.5), (4, 0.5), (7, 0)):  # the beginning of each phase, and the end of the training
        trainer.lr_scheduler.step(epoch)
        assert [group["lr"] for group in groups] == [rate] * 2


@pytest.mark.parametrize("trainer_class", [ByAttribute, ByMixin, InInit])
def test_a_subclass_is_obeyed(make_trainer, trainer_class):
    check(make_trainer(trainer_class))


def test_what_is_set_before_the_trainer_is_initialised_is_obeyed(make_trainer):
    trainer = make_trainer(initialize=False)
    for name, value in CHANGED.items():
        setattr(trainer, name, value)
    trainer.initialize()
    check(trainer)


def test_a_variant_of_nnunets_works_as_a_mixin(make_trainer):
    class Short(nnUNetTrainer_5epochs, SERTrainerTwoPhases):
        pass

    trainer = make_trainer(Short)
    assert (trainer.num_epochs, trainer.schedule.guided_epochs) == (5, 3)


class FewPatches(SERTrainerNoSAM):
    batch_size = 5


class FewPatchesInInit(SERTrainerPaper):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.batch_size = 5


@pytest.mark.parametrize("trainer_class", [FewPatches, FewPatchesInInit])
def test_a_batch_size_replaces_the_plans(make_trainer, trainer_class):
    trainer = make_trainer(trainer_class, batch_size=4)
    assert trainer.batch_size == trainer.configuration_manager.batch_size == 5


def test_without_a_batch_size_the_plans_is_used(make_trainer):
    assert make_trainer(SERTrainerNoSAM, batch_size=4).batch_size == 4


def test_checkpointing_can_be_disabled_by_attribute(make_trainer, tmp_path):
    class WithoutCheckpoints(SERTrainerNoSAM):
        disable_checkpointing = True

    make_trainer(WithoutCheckpoints).save_checkpoint(str(tmp_path / "checkpoint.pth"))
    assert not (tmp_path / "checkpoint.pth").exists()


@pytest.mark.parametrize("old", RENAMED)
def test_names_of_version_0_1_0_are_refused_instead_of_ignored(old):
    message = f"Mine: {old} is now {RENAMED[old]}"
    with pytest.raises(TypeError, match=message):
        type("Mine", (SERTrainerNoSAM,), {old: 5})
    with pytest.raises(TypeError, match=message):
        type("Mine", (type("Mixin", (), {old: 5}), SERTrainerTwoPhases), {})


def test_all_old_names_are_reported_at_once():
    with pytest.raises(TypeError, match="epochs is now num_epochs, learning_rate is now initial_lr"):

        class Mine(SERTrainerTwoPhases):
            epochs = 5
            learning_rate = 0.1


def test_no_setting_of_nnunets_is_unknown(tmp_path, monkeypatch):
    """A new one in a later nnU-Net must be added to SETTINGS."""
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    trainer = nnUNetTrainer(make_plans(), "2d", 0, DATASETS["binary"], torch.device("cpu"))
    numbers = {name for name, value in vars(trainer).items() if isinstance(value, bool | int | float)}
    state = {"is_ddp", "local_rank", "fold", "is_cascaded", "current_epoch", "was_initialized"}
    assert numbers - state == set(SETTINGS)


@pytest.mark.parametrize(("order", "warned"), [([1, 2], False), ([2, 1], True)])
def test_a_wrong_order_of_regions_is_in_the_log(make_trainer, monkeypatch, order, warned):
    """[2, 1] writes the whole lesion as 2 and then its core as 1: every voxel would lie in the wrong region."""
    monkeypatch.setitem(DATASETS["regions"], "regions_class_order", order)
    trainer = make_trainer(SERTrainerNoSAM, "regions")
    text = Path(trainer.log_file).read_text(encoding="utf-8")
    assert ("Right is: labels whole=1,2 core=2 with regions_class_order 1 2" in text) == warned


@pytest.mark.parametrize("value", [1.0, "1"])
def test_label_values_that_nnunet_takes_for_numbers_are_accepted(make_trainer, monkeypatch, value):
    monkeypatch.setitem(DATASETS["binary"], "labels", {"background": 0, "lesion": value})
    assert "WARNING" not in Path(make_trainer(SERTrainerNoSAM).log_file).read_text(encoding="utf-8")
