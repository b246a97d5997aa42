"""One finished fold of a model folder in nnU-Net's results: its plan, its fold, and its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Any, cast

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.model_plans import read_model_plans
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.nnunet.trainers import find_trainer
from ser_nnunet.utils.files import read_json
from ser_nnunet.utils.model_format import recorded_trainer, require_known_format

CHECKPOINT = "checkpoint_final.pth"  # nnU-Net writes it when a training is finished
EXPECTED = (
    "Expected is a folder DATASET/TRAINER__PLANS__CONFIGURATION of nnUNet_results with a finished training of the fold"
)
KEYS = ("network_weights", "trainer_name", "init_args")  # of its content
ARGUMENTS = ("configuration", "fold")  # of those that the trainer was built with


@dataclass(frozen=True)
class TrainedModel:
    """A trained network as nnU-Net has saved it.

    Attributes:
        fold_folder: `nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION/fold_X`.
        planned: the plan and the data set that the network was trained for.
        fold: the fold that the checkpoint records, a number or `all`.
        trainer: the name of the trainer's class.
        weights: the network's state dict, on the CPU.
    """

    fold_folder: Path
    planned: PlannedConfiguration
    fold: int | str
    trainer: str
    weights: dict[str, torch.Tensor]

    @property
    def checkpoint(self) -> Path:
        """The file of the weights."""
        return self.fold_folder / CHECKPOINT

    @property
    def dataset(self) -> str:
        """The data set's name, such as `Dataset004_Hippocampus`."""
        return str(self.planned.plans["dataset_name"])

    @property
    def validation_cases(self) -> set[str] | None:
        """The cases that nnU-Net's final validation predicted; None if it has not been run.

        Raises:
            UserError: its summary can't be read.
        """
        file = self.fold_folder / "validation" / "summary.json"
        if not file.is_file():
            return None
        ending = str(self.planned.dataset_json.get("file_ending", ""))
        try:
            files = [row["prediction_file"] for row in read_json(file)["metric_per_case"]]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{file} is no summary of nnU-Net's validation ({error!r}): repeat it with --val"
            ) from error
        return {PureWindowsPath(name).name.removesuffix(ending) for name in files}  # either kind of separator

    @cached_property
    def builder(self) -> type[nnUNetTrainer]:
        """The class that builds the network: the trainer's, or nnUNetTrainer where nnU-Net doesn't find that one."""
        try:
            return find_trainer(self.trainer)
        except (RuntimeError, AssertionError):  # not found in nnU-Net and nnUNet_extTrainer
            return nnUNetTrainer

    def build_network(self) -> torch.nn.Module:
        """Return the network with its weights, on the CPU, in training mode and without deep supervision.

        The trainer's class builds it, as for a prediction. Where nnU-Net doesn't find that class, it is the network
        that the plan names. No random numbers are drawn from the caller's generator.

        Raises:
            UserError: the network can't be built, or the weights belong to another one.
        """
        planned = self.planned
        try:
            with torch.random.fork_rng(devices=[]):
                network = self.builder.build_network_architecture(
                    plans_manager=planned.plans_manager,
                    configuration_manager=planned.configuration_manager,
                    num_input_channels=planned.channels,
                    num_output_channels=planned.heads,
                    enable_deep_supervision=False,
                )
                network.load_state_dict(self.weights)
        except Exception as error:  # of any trainer and network
            raise UserError(
                f"{self.checkpoint} doesn't fit the network that {self.builder.__name__} builds from the plans.json "
                f"beside it (trained by {self.trainer}; nnUNet_extTrainer must list the folder of a trainer with a "
                f"network of its own): {' '.join(str(error).split())[:300]}"
            ) from error
        return network


def find_finished_folds(folder: str | Path) -> list[Path]:
    """Return the finished `fold_X` of a model folder, or of such a `fold_X` itself; `UserError` if there is none."""
    path = Path(folder).expanduser()
    pattern = CHECKPOINT if path.name.startswith("fold_") else f"fold_*/{CHECKPOINT}"
    finished = sorted(file.parent for file in path.glob(pattern))
    if not finished:
        raise UserError(f"{path}: no {pattern} found. {EXPECTED}")
    return finished


def read_trained_model(folder: str | Path, fold: int | str) -> TrainedModel:
    """Read a finished fold of a model folder.

    Like nnU-Net, this unpickles the checkpoint, which can run code: read only models from a source that you trust.

    Args:
        folder: the model folder, or one of its folders `fold_X`, which is then read whatever `fold` says.
        fold: a number or `all`.

    Raises:
        UserError: there is no such folder, the fold isn't finished, or its files are none of nnU-Net's.
    """
    finished = find_finished_folds(folder)
    chosen = next((path for path in finished if path.name in (f"fold_{fold}", Path(folder).name)), None)
    if chosen is None:
        names = ", ".join(path.name for path in finished)
        raise UserError(f"{folder}: fold_{fold} isn't finished, {names} found. {EXPECTED}")
    content = read_checkpoint(chosen / CHECKPOINT)
    arguments = content["init_args"]
    planned = read_model_plans(chosen.parent, arguments["configuration"])
    return TrainedModel(chosen, planned, arguments["fold"], recorded_trainer(content), content["network_weights"])


def read_checkpoint(
    file: Path, entries: Sequence[str] = KEYS, arguments: Sequence[str] = ARGUMENTS, mmap: bool = False
) -> dict[str, Any]:
    """Load a checkpoint of nnU-Net's on the CPU, by unpickling it.

    Args:
        file: such as `checkpoint_final.pth`.
        entries: that it must have.
        arguments: that its `init_args`, if it has them, must have.
        mmap: leave the weights on the disk until they are read.

    Raises:
        UserError: it can't be read, lacks an entry, or has a format that is unknown here.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=False, mmap=mmap)
    except Exception as error:  # of unpickling: anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{file} can't be read as a checkpoint of nnU-Net's: {reason}") from error
    known = content if isinstance(content, dict) else {}
    lacking = [key for key in entries if key not in known]
    lacking += [f"init_args of {name}" for name in arguments if name not in known.get("init_args", arguments)]
    if lacking:
        raise UserError(f"{file} is no checkpoint of nnU-Net's: it lacks {', '.join(lacking)}")
    require_known_format(known, file)
    return cast("dict[str, Any]", content)
