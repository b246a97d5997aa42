"""Model folders with a toy U-Net of nnU-Net's, as its trainings leave them."""

import json

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.nnunet.plans import PlannedConfiguration
from tests.benchmark.tiny_dataset import tiny_plans
from tests.training.helpers import DATASETS, make_plans


def unet_plans(**changed):
    """A plan like the student's, with a complete toy U-Net (three stages, so patches divisible by 4)."""
    architecture = tiny_plans()["configurations"]["2d"]["architecture"]
    plans = make_plans(**{"architecture": architecture} | changed)
    del plans["continue_training"]
    return plans


def write_teacher(folder, dataset="binary", fold=0, trainer="nnUNetTrainer", validation=None, plans=None, network=None):
    """Write a model folder with one finished fold and random weights; return it.

    `validation` are the cases of its final validation; None leaves that out.
    """
    plans, dataset_json = plans or unet_plans(), DATASETS[dataset] | {"file_ending": ".nii.gz"}
    planned = PlannedConfiguration(plans, next(iter(plans["configurations"])), dataset_json)
    managers = planned.plans_manager, planned.configuration_manager
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = network or nnUNetTrainer.build_network_architecture(*managers, planned.channels, planned.heads, False)
    fold_folder = folder / f"fold_{fold}"
    fold_folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset_json))
    arguments = {"configuration": planned.configuration, "fold": fold}
    content = {"network_weights": network.state_dict(), "init_args": arguments, "trainer_name": trainer}
    torch.save(content, fold_folder / "checkpoint_final.pth")
    if validation is not None:
        (fold_folder / "validation").mkdir()
        rows = [{"prediction_file": f"/elsewhere/{case}.nii.gz"} for case in validation]
        (fold_folder / "validation" / "summary.json").write_text(json.dumps({"metric_per_case": rows}))
    return folder
