"""What would stop a cross-validation, all at once and before anything is submitted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from ser_nnunet.cluster.crossval_settings import FOLLOW_UPS, CrossvalSettings, results_of
from ser_nnunet.cluster.crossval_tasks import Crossval, read_splits
from ser_nnunet.cluster.slurm_queue import refused_submission, sbatch_options, slurm, time_limits
from ser_nnunet.cluster.training_files import TrainingFiles
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import preprocessed_dataset
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.nnunet.trainers import find_trainer
from ser_nnunet.training.distill_trainer import SERTrainerDistill
from ser_nnunet.training.teacher import Student, read_teacher
from ser_nnunet.training.trainer_checks import find_trainer_problems
from ser_nnunet.utils.output_checks import require_writable_folder
from ser_nnunet.utils.variables import SAM_CHECKPOINT, TEACHER

LEAST_FREE = 1 << 30
"""Bytes: a disk with less is as good as full (checkpoints of nnU-Net's have about 0.3 GB)."""


def find_settings_problems(settings: CrossvalSettings, plans: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with configurations, folds and names."""
    known = plans["configurations"]
    manager, folder = PlansManager(plans), preprocessed_dataset(settings.dataset)
    for name in settings.configurations:
        if name not in known:
            yield f"-c {name}: {settings.plans} of {settings.dataset} has {', '.join(known)}"
        elif not (data := folder / manager.get_configuration(name).data_identifier).is_dir():
            yield (
                f"-c {name} isn't preprocessed, {data} is absent: "
                f"run  nnUNetv2_preprocess -d {settings.dataset} -c {name} -plans_name {settings.plans}"
            )
    if "all" in settings.folds and (len(settings.folds) > 1 or settings.predict):
        yield "-f all: expected alone and without --predict (there is no best configuration without validation cases)"
    own = {*settings.configurations, *FOLLOW_UPS, ""}
    for option, table in (("--time", settings.minutes), ("--memory", settings.memory_gb), ("--slurm", settings.slurm)):
        yield from (
            f"{option} {name}: expected one of {', '.join(sorted(own - {''}))}" for name in table if name not in own
        )


def find_trainers_problems(settings: CrossvalSettings, plans: dict[str, Any], dataset: dict[str, Any]) -> Iterator[str]:
    """Yield what the trainers lack: themselves, SAM's checkpoint, a teacher, support of a configuration."""
    known = [name for name in settings.configurations if name in plans["configurations"]]
    found = {}
    for name in settings.trainers:
        try:
            found[name] = find_trainer(name)
        except RuntimeError as error:
            yield f"-tr {name}: {error}".splitlines()[0]
        except Exception as error:  # whatever a user's module raises when it is imported
            yield f"-tr {name} can't be imported: {type(error).__name__}: {error}".splitlines()[0]
    problems = [
        problem
        for name, trainer in found.items()
        for configuration in known
        for problem in find_trainer_problems(
            [name], int(getattr(trainer, "num_epochs", 1000)), plans, configuration, os.environ.get(SAM_CHECKPOINT)
        )
    ]
    yield from dict.fromkeys(problems)
    for name, trainer in found.items():
        if issubclass(trainer, SERTrainerDistill):
            yield from _find_teacher_problems(settings, name, plans, dataset, known)


def _find_teacher_problems(
    settings: CrossvalSettings, trainer: str, plans: dict[str, Any], dataset: dict[str, Any], known: list[str]
) -> Iterator[str]:
    splits = read_splits(settings)
    for configuration in known:
        planned = PlannedConfiguration(plans, configuration, dataset)
        for fold in settings.folds:
            cases = splits[int(fold)]["val"] if fold.isdigit() and int(fold) < len(splits) else []
            try:
                read_teacher(os.environ.get(TEACHER), Student(planned, int(fold) if fold.isdigit() else fold, cases))
            except UserError as error:
                yield f"-tr {trainer}, {configuration}, fold {fold}: {error}"


def find_place_problems(settings: CrossvalSettings) -> Iterator[str]:
    """Yield why results and logs could not be written, and what of the images is missing."""
    folder = settings.folder
    try:
        require_writable_folder(folder)
        existing = next(place for place in (folder, *folder.parents) if place.is_dir())
        free = shutil.disk_usage(existing).free
        if free < LEAST_FREE:
            yield f"{folder}: the disk is full, {free / 1e9:.2f} GB are free, {LEAST_FREE / 1e9:.1f} GB expected"
    except UserError as error:
        yield str(error)
    if settings.predict is not None and not Path(settings.predict).is_dir():
        yield f"--predict: the folder {settings.predict} doesn't exist"


def find_fold_problems(settings: CrossvalSettings, crossval: Crossval) -> Iterator[str]:
    """Yield folds that the splits lack, and first stages of a cascade that are neither trained nor asked for."""
    splits = read_splits(settings)
    if "all" not in settings.folds:
        outside = [fold for fold in settings.folds if splits and int(fold) >= len(splits)]
        if outside:
            yield f"-f {' '.join(outside)}: splits_final.json of {settings.dataset} has {len(splits)} folds"
    every = settings.folds if "all" in settings.folds else tuple(str(fold) for fold in range(len(splits) or 5))
    lacking: dict[str, list[str]] = {}
    for training in crossval.trainings.values():
        if training.previous is None:
            continue
        model = f"{training.trainer}__{settings.plans}__{training.previous}"
        for fold in every:
            files = TrainingFiles(results_of(settings.dataset) / model / f"fold_{fold}", (training.configuration,))
            if f"{model}/fold_{fold}" not in crossval.trainings and not files.is_done():
                lacking.setdefault(f"{model}, which {training.configuration} learns from,", []).append(fold)
    for what, folds in lacking.items():
        missing = ", ".join(dict.fromkeys(folds))
        yield f"{what} lacks the folds {missing}: add them with -c and -f, the cascade needs all cases' predictions"


def find_slurm_problems(crossval: Crossval) -> list[str]:
    """Return why SLURM would refuse the jobs: a wrong partition or account, too much memory or time, no answer."""
    try:
        slurm("squeue", "--version")
        slurm("sinfo", "-h")
    except UserError as error:
        return [str(error)]
    different = {tuple(sorted(sbatch_options(task).items())): task for task in crossval.tasks().values()}
    refused = {task.group: refused_submission(dict(options)) for options, task in different.items()}
    reasons: dict[str, list[str]] = {}
    for group, reason in refused.items():
        if reason is not None:
            reasons.setdefault(reason, []).append(group)
    problems = [f"SLURM refuses jobs such as {groups[0]}: {reason}" for reason, groups in reasons.items()]
    limits = time_limits()
    longest: dict[str, int] = {}
    for task in crossval.tasks().values():
        partition = task.resources.slurm.get("partition", "")
        longest[partition] = max(longest.get(partition, 0), task.resources.minutes)
    return problems + [
        f"--time: {minutes} minutes, but the partition {partition or '(default)'} allows {limits[partition]}"
        for partition, minutes in longest.items()
        if minutes > limits.get(partition, minutes)
    ]
