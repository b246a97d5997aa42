"""The teacher of a distillation: a trained model of nnU-Net's that fits the student's patches and labels."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch

from ser_nnunet.errors import UserError
from ser_nnunet.network.layers import count_parameters, crop, pad_to_multiple
from ser_nnunet.nnunet.channels import list_channels
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.nnunet.trained_model import TrainedModel, read_trained_model
from ser_nnunet.utils.hashing import file_sha256
from ser_nnunet.utils.variables import TEACHER

CT_INTENSITIES = ("mean", "std", "percentile_00_5", "percentile_99_5")  # that CTNormalization uses


class TeacherError(UserError):
    """A teacher that is missing or can't be used; the message says why and what to do."""


@dataclass(frozen=True)
class Student:
    """What a teacher must fit.

    Attributes:
        planned: the student's plan and data set.
        fold: a number or `all`.
        validation_cases: the fold's.
    """

    planned: PlannedConfiguration
    fold: int | str
    validation_cases: Collection[str]


class Teacher:
    """A frozen network of nnU-Net's results.

    Attributes:
        network: in eval mode, without gradients, on the training's device.
        stride: by which a patch's edges must be divisible for this network; empty if its own patch size is meant.
        dataset: the name of the data set that it was trained on.
        description: which model it is, for the log.
    """

    def __init__(self, model: TrainedModel, device: torch.device) -> None:
        self.network = model.build_network().requires_grad_(False).eval().to(device)
        self.stride = tuple(math.prod(steps) for steps in zip(*model.planned.strides, strict=True))
        self.dataset = model.dataset
        self.description = (
            f"{model.checkpoint} (SHA-256 {file_sha256(model.checkpoint)}), {model.trainer} on {model.dataset}, "
            f"fold {model.fold}, {count_parameters(self.network) / 1e6:.1f} M parameters"
        )
        if model.builder.__name__ != model.trainer:
            self.description += f"; {model.trainer} wasn't found, so this is the network that its plans.json names"

    @torch.no_grad()
    def __call__(self, patch: torch.Tensor) -> torch.Tensor:
        """Return logits `(B, K, *patch)` of a patch `(B, C, *patch)`, zero-padded for the network where needed."""
        padded = pad_to_multiple(patch, self.stride) if self.stride else patch
        logits: torch.Tensor = self.network(padded)
        return crop(logits, patch.shape[2:])


def load_teacher(folder: str | None, student: Student, device: torch.device, trainer: str) -> Teacher:
    """Load the teacher onto a device.

    Args:
        folder: a model folder, of which the student's fold is taken, or a folder `fold_X`; None or empty where unset.
        student: what it must fit.
        device: where it computes.
        trainer: the trainer's name, for the message.

    Raises:
        TeacherError: no folder is set, or the model can't be used; with all reasons.
    """
    try:
        return Teacher(read_teacher(folder, student), device)
    except UserError as error:
        raise TeacherError(
            f"{trainer} learns from a trained model of nnU-Net's. {error}\n"
            f"Set {TEACHER} to a suitable model, or train without a teacher: -tr SERTrainerNoSAM"
        ) from error


def read_teacher(folder: str | None, student: Student) -> TrainedModel:
    """Return the teacher's model (arguments as `load_teacher`); raises `UserError` with all reasons against it."""
    if not folder:
        raise UserError(
            f"The environment variable {TEACHER} isn't set: train one, for example with  nnUNetv2_train DATASET_ID 2d "
            f"{student.fold} , then  export {TEACHER}=$nnUNet_results/DATASET/nnUNetTrainer__nnUNetPlans__2d"
        )
    model = read_trained_model(folder, student.fold)
    problems = find_differences(model.planned, student.planned) + find_leaks(model, student)
    if problems:
        raise UserError(f"{model.fold_folder} can't be the teacher:" + "".join(f"\n  {each}" for each in problems))
    return model


def find_differences(teacher: PlannedConfiguration, student: PlannedConfiguration) -> list[str]:
    """Return, in sentences, in what the teacher's input and output differ from the student's.

    Both see the same preprocessed patch, and their logits are compared voxel by voxel and head by head. The batch size
    and the network may differ; so may the patch size if the plan states the network's strides, because a patch can be
    padded to a multiple of them.
    """
    theirs, ours = describe_input_and_output(teacher), describe_input_and_output(student)
    if not teacher.strides:
        theirs["patch size"], ours["patch size"] = teacher.patch_size, student.patch_size
    return [f"{name}: {theirs[name]} in the teacher, {ours[name]} here" for name in ours if theirs[name] != ours[name]]


def describe_input_and_output(planned: PlannedConfiguration) -> dict[str, Any]:
    """Return what must be equal in teacher and student, by its name in a message."""
    manager, configuration, dataset = planned.plans_manager, planned.configuration_manager, planned.dataset_json
    labels = [f"{name} {value}" for name, value in dataset["labels"].items() if name != "ignore"]
    return {
        "dimension": len(planned.patch_size),
        "previous stage of a cascade": configuration.previous_stage_name,
        "spacing": [float(f"{edge:.4g}") for edge in configuration.spacing],
        "order of axes": list(manager.transpose_forward),
        "preprocessor": configuration.preprocessor_name,
        "normalization": list(configuration.normalization_schemes),
        "normalization inside the nonzero mask": list(configuration.use_mask_for_norm),
        f"intensities for CT normalization ({', '.join(CT_INTENSITIES)})": {
            channel: [
                float(f"{manager.foreground_intensity_properties_per_channel[str(channel)][key]:.4g}")
                for key in CT_INTENSITIES
            ]
            for channel, scheme in enumerate(configuration.normalization_schemes)
            if scheme == "CTNormalization"
        },
        "channels": list_channels(dataset),
        # regions: one head each, in dataset.json's order; classes: one head per value
        "labels": labels if planned.label_manager.has_regions else sorted(labels),
    }


def find_leaks(model: TrainedModel, student: Student) -> list[str]:
    """Return why the teacher may have been trained on the student's validation cases, in sentences.

    Their labels would reach the student through the teacher, and its validation would be too good. A teacher of another
    data set can't be checked; a student of all cases has no cases to keep apart.
    """
    if student.fold == "all" or model.dataset != student.planned.plans["dataset_name"]:
        return []
    if model.fold != student.fold:
        return [
            f"fold: {model.fold} in the teacher, {student.fold} here. It was trained on validation cases of this fold, "
            f"and the student's validation would be too good; train the teacher on fold {student.fold}, too"
        ]
    known = model.validation_cases
    trained = sorted(set(student.validation_cases) - known) if known is not None else []
    if trained:
        return [
            f"split: {len(trained)} validation cases of fold {student.fold} were not validation cases of the teacher "
            f"({', '.join(trained[:5])}{', ...' if len(trained) > 5 else ''}), which may have been trained on them; "
            "train the teacher again on the present split"
        ]
    return []
