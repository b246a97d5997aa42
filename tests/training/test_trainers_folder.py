"""The folder `trainers/`: every file is named after its trainer, and nnU-Net finds all of them."""

import re
from importlib import import_module

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, find_trainer, trainers_folder
from ser_nnunet.training.trainer import SERTrainer

FILES = sorted(file.stem for file in trainers_folder().glob("*.py") if file.stem != "__init__")
SHORT = "SERTrainer_Xepochs"


def exported(file):
    return import_module(f"ser_nnunet.trainers.{file}").__all__


@pytest.mark.parametrize("file", [file for file in FILES if file != SHORT])
def test_a_file_holds_the_one_trainer_of_its_name(file):
    assert exported(file) == [file]


@pytest.mark.parametrize("name", [name for file in FILES for name in exported(file)])
def test_nnunet_finds_the_installed_class(name, monkeypatch):
    """A class that is defined in the folder itself can't be pickled, and another search returns a different one."""
    monkeypatch.setenv(EXTERNAL_TRAINERS, str(trainers_folder()))
    trainer = find_trainer(name, as_set=True)
    assert trainer.__name__ == name and "__" not in name
    assert issubclass(trainer, SERTrainer if name.startswith("SER") else nnUNetTrainer)
    assert getattr(import_module(trainer.__module__), name) is trainer
    assert trainer.__module__.startswith("ser_nnunet.training.")
    assert trainer.__doc__


def test_short_schedules_change_the_number_of_epochs_alone():
    bases = {}
    for name in exported(SHORT):
        base, epochs = re.fullmatch(r"(SERTrainer[A-Za-z]*)_(\d+)epochs", name).groups()
        trainer = getattr(import_module(f"ser_nnunet.trainers.{SHORT}"), name)
        assert trainer.__bases__ == (getattr(import_module(f"ser_nnunet.trainers.{base}"), base),)
        assert trainer.num_epochs == int(epochs)
        assert {key for key in vars(trainer) if not key.startswith("__")} == {"num_epochs"}
        bases.setdefault(base, set()).add(int(epochs))
    assert set(bases) == {"SERTrainer", "SERTrainerJoint", "SERTrainerNoSAM"}
    assert all(lengths == {5, 10, 20, 50, 100, 250, 500} for lengths in bases.values())


def test_short_schedules_are_guided_to_their_end(make_trainer):
    trainer = make_trainer(import_module(f"ser_nnunet.trainers.{SHORT}").SERTrainer_10epochs)
    assert (trainer.num_epochs, trainer.schedule.guided_epochs) == (10, 10)
