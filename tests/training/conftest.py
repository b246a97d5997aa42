"""Trainers on a plan made by hand, without data sets or files."""

import pytest
import torch

from ser_nnunet.sam.dummy_sam import build_dummy_sam
from ser_nnunet.training.trainer import SERTrainer
from tests.training.helpers import DATASETS, draw_batch, make_plans


@pytest.fixture
def make_trainer(tmp_path, monkeypatch):
    """Build a trainer, initialised unless that is declined; its files go to a temporary folder."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda folder: None)

    def make(trainer_class=SERTrainer, dataset="binary", initialize=True, **plans):
        torch.manual_seed(0)
        arguments = make_plans(**plans), plans.get("configuration", "2d"), 0, DATASETS[dataset]
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
