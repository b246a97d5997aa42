"""Trainers on a plan made by hand, without data sets or files."""

import json

import pytest
import torch

from ser_nnunet.benchmark.dataset_view import PlannedDataset
from ser_nnunet.benchmark.unlabelled_view import make_unlabelled_view
from ser_nnunet.sam.dummy_sam import build_dummy_sam
from ser_nnunet.training.variants import SERTrainerTwoPhases
from tests.benchmark.conftest import preprocess_tiny
from tests.benchmark.tiny_dataset import DATASET_JSON, NAME, tiny_plans
from tests.training.helpers import DATASETS, draw_batch, make_plans


@pytest.fixture
def make_trainer(tmp_path, monkeypatch):
    """Build a trainer, initialised unless that is declined; its files go to a temporary folder."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda folder: None)

    def make(trainer_class=SERTrainerTwoPhases, dataset="binary", initialize=True, fold=0, **plans):
        torch.manual_seed(0)
        arguments = make_plans(**plans), plans.get("configuration", "2d"), fold, DATASETS[dataset]
        trainer = trainer_class(*arguments, device=torch.device("cpu"))
        if initialize:
            trainer.initialize()
        return trainer

    return make


@pytest.fixture
def make_batch():
    """A batch as nnU-Net's loaders give it, for every kind of labels."""
    return draw_batch


@pytest.fixture(scope="session")
def sam_file(tmp_path_factory):
    """A dummy SAM's checkpoint."""
    path = tmp_path_factory.mktemp("sam") / "dummy_sam.pth"
    torch.save(build_dummy_sam(image_size=64).state_dict(), path)
    return path


@pytest.fixture
def sam_checkpoint(sam_file, monkeypatch):
    """SER_SAM_CHECKPOINT names a dummy SAM."""
    monkeypatch.setenv("SER_SAM_CHECKPOINT", str(sam_file))
    return sam_file


SHORT = {"num_epochs": 2, "num_iterations_per_epoch": 2, "num_val_iterations_per_epoch": 1}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The tiny data set, preprocessed: a bright square in three slices of 32 x 32 pixels."""
    return preprocess_tiny(tmp_path_factory.mktemp("preprocessed"))


@pytest.fixture
def start(tiny, tmp_path, monkeypatch, sam_checkpoint):
    """Return a trainer of fold 0 that writes below tmp_path; with `labelled`, only so many cases have labels."""

    def build(trainer_class, labelled=None, **settings):
        root, plans = tiny, tiny_plans() | {"continue_training": False}
        described = DATASET_JSON
        if labelled:
            dataset = PlannedDataset(tiny / NAME, "nnUNetPlans", "2d", (0,), train_cases=labelled)
            root = make_unlabelled_view(dataset, tmp_path / "views", seed=0, fold=0)
            described = json.loads((root / NAME / "dataset.json").read_text())
        for name, folder in (("nnUNet_preprocessed", root), ("nnUNet_results", tmp_path / "results")):
            monkeypatch.setenv(name, str(folder))
        monkeypatch.setenv("nnUNet_n_proc_DA", "0")
        torch.manual_seed(0)
        changed = type(trainer_class.__name__, (trainer_class,), SHORT | settings)
        return changed(plans, "2d", 0, described, torch.device("cpu"))

    return build
