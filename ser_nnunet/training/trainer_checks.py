"""Checks that trainers exist and support the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.nnunet.trainers import find_trainer
from ser_nnunet.sam.checkpoint import CheckpointError, load_weights
from ser_nnunet.training.schedule import two_phases
from ser_nnunet.training.trainer import SERTrainer
from ser_nnunet.utils.variables import SAM_CHECKPOINT


def find_trainer_problems(
    names: Sequence[str], epochs: int, plans: dict[str, Any], configuration: str, sam_checkpoint: str | None
) -> list[str]:
    """Return why trainers can't be used, in sentences: unknown, without SAM's checkpoint, or not for 3D."""
    problems, guided = [], []
    for name in names:
        try:
            trainer = find_trainer(name)
        except RuntimeError as error:
            problems.append(str(error).strip().splitlines()[0])
            continue
        except AssertionError as error:  # of nnU-Net: a class that isn't a trainer
            problems.append(f"trainer {name}: {str(error).strip().splitlines()[0]}")
            continue
        if issubclass(trainer, SERTrainer):
            try:
                trainer.refuse_unsupported(plans, configuration)
            except NotImplementedError as error:
                problems.append(f"trainer {name}: {error}")
        guided += [name] if is_guided(trainer, epochs) else []
    return problems + find_sam_problems(guided, sam_checkpoint)


def is_guided(trainer: type[nnUNetTrainer], epochs: int) -> bool:
    """Return whether SAM guides any of the epochs."""
    if not issubclass(trainer, SERTrainer):
        return False
    return two_phases(epochs, trainer.guided_fraction, trainer.joint).guided_epochs > 0


def find_sam_problems(guided: list[str], checkpoint: str | None) -> list[str]:
    """Return why the guided trainers can't be guided, in a sentence."""
    if not guided:
        return []
    if not checkpoint:
        return [f"{', '.join(guided)} need SAM: set {SAM_CHECKPOINT} to a checkpoint, or leave them out"]
    try:
        load_weights(checkpoint)
    except CheckpointError as error:
        return [f"{SAM_CHECKPOINT}: {error}"]
    return []
