"""Which trainers can be benchmarked here: found by name, and fit for the configuration."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, with_trainers
from ser_nnunet.sam.checkpoint import CheckpointError, load_weights
from ser_nnunet.training.schedule import two_phases
from ser_nnunet.training.sernet_plans import refuse_unsupported
from ser_nnunet.training.trainer import SERTrainer
from ser_nnunet.utils.variables import SAM_CHECKPOINT, environment


def find_problems(
    names: Sequence[str], epochs: int, plans: dict[str, Any], configuration: str, sam_checkpoint: str | None
) -> list[str]:
    """Return why trainers can't be used, in sentences: unknown, without SAM's checkpoint, or in 3D."""
    problems = []
    for name in names:
        try:
            trainer = find_trainer(name)
        except (RuntimeError, AssertionError) as error:
            problems.append(f"-tr {name}: {str(error).strip().splitlines()[0]}")
            continue
        if issubclass(trainer, SERTrainer):
            problems += _refused(name, plans, configuration)
    guided = [name for name in names if is_guided(name, epochs)]
    return problems + _sam_problems(guided, sam_checkpoint)


def is_guided(name: str, epochs: int) -> bool:
    """Return whether SAM guides any of a trainer's epochs; False for a trainer that can't be found."""
    try:
        trainer = find_trainer(name)
    except (RuntimeError, AssertionError):
        return False
    if not issubclass(trainer, SERTrainer):
        return False
    return two_phases(epochs, trainer.guided_fraction, trainer.joint).guided_epochs > 0


def find_trainer(name: str) -> type[nnUNetTrainer]:
    """Return a trainer's class as nnU-Net finds it, SER's own included.

    Raises:
        RuntimeError: there is none of this name.
    """
    paths = {EXTERNAL_TRAINERS: with_trainers(os.environ.get(EXTERNAL_TRAINERS))}
    with environment(paths), contextlib.redirect_stdout(io.StringIO()):
        return recursive_find_trainer_class_by_name(name)


def _refused(name: str, plans: dict[str, Any], configuration: str) -> list[str]:
    chosen = PlansManager(plans).get_configuration(configuration)
    try:
        refuse_unsupported(configuration, len(chosen.patch_size), chosen.previous_stage_name)
    except NotImplementedError as error:
        return [f"-tr {name}: {error}"]
    return []


def _sam_problems(guided: list[str], checkpoint: str | None) -> list[str]:
    if not guided:
        return []
    if not checkpoint:
        return [f"{', '.join(guided)} need SAM: set {SAM_CHECKPOINT} to a checkpoint, or leave them out"]
    try:
        load_weights(checkpoint)
    except CheckpointError as error:
        return [f"{SAM_CHECKPOINT}: {error}"]
    return []
