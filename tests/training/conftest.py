"""Trainers on a plan made by hand, without data sets or files."""

import pytest
import torch

from ser_nnunet.sam.dummy_sam import build_dummy_sam
from ser_nnunet.training.trainer import SERTrainer


def make_plans(patch=(32, 32), batch_size=4, configuration="2d", **extra):
    """The entries of nnU-Net's plans that training reads."""
    axes = len(patch)
    return {
        "dataset_name": "Dataset001_Toy",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "configurations": {
            configuration: {
                "data_identifier": "nnUNetPlans_2d",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": batch_size,
                "patch_size": list(patch),
                "spacing": [1.0] * axes,
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
                "batch_dice": True,
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                    "arch_kwargs": {"n_stages": 4, "strides": [[1] * axes] + [[2] * axes] * 3},
                    "_kw_requires_import": [],
                },
                **extra,
            }
        },
        "continue_training": False,
    }


DATASETS = {
    "binary": {"channel_names": {"0": "FLAIR"}, "labels": {"background": 0, "lesion": 1}},
    "classes": {"channel_names": {"0": "FLAIR"}, "labels": {"background": 0, "one": 1, "two": 2}},
    "ignore": {"channel_names": {"0": "FLAIR"}, "labels": {"background": 0, "lesion": 1, "ignore": 2}},
    "regions": {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, "whole": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
    },
    "regions_ignore": {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
        "regions_class_order": [1, 2],
    },
}


@pytest.fixture
def make_trainer(tmp_path, monkeypatch):
    """Build an initialised trainer; its files go to a temporary folder."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda folder: None)

    def make(trainer_class=SERTrainer, dataset="binary", **plans):
        torch.manual_seed(0)
        arguments = make_plans(**plans), plans.get("configuration", "2d"), 0, DATASETS[dataset]
        trainer = trainer_class(*arguments, device=torch.device("cpu"))
        trainer.initialize()
        return trainer

    return make


@pytest.fixture
def make_batch():
    """A batch as nnU-Net's loaders give it, for every kind of labels."""

    def make(dataset="binary", batch_size=4, size=(32, 32)):
        generator = torch.Generator().manual_seed(1)
        labels = DATASETS[dataset]["labels"]
        target = torch.randint(0, len(labels), (batch_size, 1, *size), generator=generator)
        if dataset.startswith("regions"):
            maps = [(target == 1) | (target == 2), target == 2, target == 3]
            target = torch.cat(maps[: 3 if dataset.endswith("ignore") else 2], 1)
        return {"data": torch.randn(batch_size, 1, *size, generator=generator), "target": target}

    return make


@pytest.fixture(scope="session")
def sam_file(tmp_path_factory):
    """A toy SAM's checkpoint."""
    path = tmp_path_factory.mktemp("sam") / "toy.pth"
    torch.save(build_dummy_sam(image_size=64).state_dict(), path)
    return path
