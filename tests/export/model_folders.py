"""Trained-model folders as nnU-Net writes them, with networks of random weights."""

import json
from pathlib import Path

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.network.ser_net import architecture

UNET = "dynamic_network_architectures.architectures.unet.PlainConvUNet"


def unet(dimension, stages=3, features=8):
    """The `architecture` entry of a small U-Net of nnU-Net."""
    operations = {"conv_op": f"torch.nn.Conv{dimension}d", "norm_op": f"torch.nn.InstanceNorm{dimension}d"}
    return {
        "network_class_name": UNET,
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": [features * 2**stage for stage in range(stages)],
            "kernel_sizes": [[3] * dimension] * stages,
            "strides": [[1] * dimension, *[[2] * dimension] * (stages - 1)],
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            **operations,
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def sernet(patch, prompts=2, thick_slices=False):
    """The `architecture` entry of a SERNet, in 3D on nnU-Net's strides and kernels for thick slices if asked for."""
    if not thick_slices:
        return architecture(patch, [], prompts, "light")
    strides = [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2]]
    return architecture(patch, strides, prompts, "light", [[1, 3, 3], [1, 3, 3], [3, 3, 3], [3, 3, 3]])


def write_model_folder(
    folder: Path, planned, trainer="nnUNetTrainer", folds=(0,), mirror_axes=(0, 1), prepare=None
) -> Path:
    """Write plans, dataset.json and a checkpoint per fold; the folds' weights differ, `prepare(network)` changes them.

    nnU-Net's search finds `nnUNetTrainer` in a second, SER's trainers in several; the plans name the network.
    """
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(planned.plans))
    (folder / "dataset.json").write_text(json.dumps(planned.dataset_json))
    for number, fold in enumerate(folds):
        torch.manual_seed(number)
        managers = planned.plans_manager, planned.configuration_manager
        network = nnUNetTrainer.build_network_architecture(
            *managers, planned.channels, planned.heads, enable_deep_supervision=False
        )
        (prepare or untie)(network)
        checkpoint = {
            "network_weights": network.state_dict(),
            "init_args": {"configuration": planned.configuration, "fold": fold},
            "trainer_name": trainer,
            "inference_allowed_mirroring_axes": mirror_axes,
            "current_epoch": 12,
        }
        (folder / f"fold_{fold}").mkdir()
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def untie(network):
    """Enlarge the logits, which random weights leave so close to each other that float16 decides between them."""
    last = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Conv3d)][-1]
    with torch.no_grad():
        last.weight *= 10
        last.bias.zero_()
