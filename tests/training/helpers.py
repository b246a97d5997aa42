"""Plans made by hand, and how tests run single epochs and steps of a trainer."""

import torch

from ser_nnunet.nnunet.log import epoch_log
from ser_nnunet.training.trainer import LOGGED

GUIDED, ALONE = 0, 999  # an epoch of each phase, in a training of 1000


def make_plans(patch=(32, 32), batch_size=4, configuration="2d", **extra):
    """The entries of nnU-Net's plans that training reads."""
    axes = len(patch)
    return {
        "dataset_name": "Dataset001_Tiny",
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
    "two_channels": {"channel_names": {"0": "FLAIR", "1": "T1"}, "labels": {"background": 0, "lesion": 1}},
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


def draw_batch(dataset="binary", batch_size=4, size=(32, 32)):
    """A batch as nnU-Net's loaders give it, for every kind of labels; the same at every call."""
    generator = torch.Generator().manual_seed(1)
    labels = DATASETS[dataset]["labels"]
    target = torch.randint(0, len(labels), (batch_size, 1, *size), generator=generator)
    if dataset.startswith("regions"):
        maps = [(target == 1) | (target == 2), target == 2, target == 3]
        target = torch.cat(maps[: 3 if dataset.endswith("ignore") else 2], 1)
    channels = len(DATASETS[dataset]["channel_names"])
    return {"data": torch.randn(batch_size, channels, *size, generator=generator), "target": target}


def start_epoch(trainer, epoch):
    """Begin an epoch as if the ones before had been trained: nnU-Net's log wants one value for each."""
    trainer.current_epoch = epoch
    for key in ("lrs", *LOGGED, "train_losses"):
        epoch_log(trainer)[key] = [0.0] * epoch
    trainer.on_train_epoch_start()


def silence(trainer, loss):
    """Multiply a loss, `L_seg` or `L_dist`, by 0, so that only the other one has gradients."""
    owner, name = (trainer.guidance, "seg_loss") if loss == "L_seg" else (trainer, "loss")
    original = getattr(owner, name)
    setattr(owner, name, lambda *arguments: original(*arguments) * 0)


def part_gradients(trainer):
    """The gradients of the prompt learner's and the aggregator's parameters."""
    parts = {name: getattr(trainer.ser_net, name) for name in ("prompt_learner", "aggregator")}
    return {name: [parameter.grad for parameter in part.parameters()] for name, part in parts.items()}


def is_zero(gradients):
    return all(gradient is None or not gradient.any() for gradient in gradients)
