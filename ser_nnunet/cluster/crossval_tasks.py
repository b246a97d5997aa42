"""From settings to tasks: trainings, then the best configuration, predictions, evaluations and reports."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from ser_nnunet.cluster.crossval_settings import CrossvalSettings, results_of
from ser_nnunet.cluster.follow_ups import FollowUp, list_follow_ups, predictions_folder
from ser_nnunet.cluster.tasks import Task
from ser_nnunet.cluster.training_files import TrainingFiles
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import preprocessed_dataset
from ser_nnunet.utils.files import read_json

HOURS, FOLLOW_UP_HOURS = 24, 4
MEMORY_GB = {2: 24.0, 3: 48.0}
"""By the patch's dimension: data augmentation in 3D holds larger batches in every worker process."""
FOLLOW_UP_GB = 24.0


@dataclass(frozen=True)
class Training:
    """One fold of a configuration, trained by one trainer."""

    settings: CrossvalSettings
    trainer: str
    configuration: str
    fold: str
    previous: str | None
    next_stages: tuple[str, ...]
    dimension: int

    @property
    def model(self) -> str:
        """nnU-Net's name of the folder of all folds."""
        return f"{self.trainer}__{self.settings.plans}__{self.configuration}"

    @property
    def key(self) -> str:
        """Of the task."""
        return f"{self.model}/fold_{self.fold}"

    @property
    def files(self) -> TrainingFiles:
        """Of the training, which need not exist yet."""
        return TrainingFiles(results_of(self.settings.dataset) / self.key, self.next_stages)

    def task(self) -> Task:
        """Return the task; a cascade's second stage needs all folds of the first that are trained."""
        settings = self.settings
        needs: tuple[str, ...] = ()
        if self.previous in settings.configurations:
            before = f"{self.trainer}__{settings.plans}__{self.previous}"
            needs = tuple(f"{before}/fold_{fold}" for fold in settings.folds)
        gpus = f" -num_gpus {settings.gpus_per_job}" if settings.gpus_per_job > 1 and settings.device == "cuda" else ""
        device = "" if settings.device == "cuda" else f" -device {settings.device}"
        shown = f"nnUNetv2_train {settings.dataset} {self.configuration} {self.fold} -tr {self.trainer}"
        return Task(
            key=self.key,
            group=self.model,
            name=self.fold,
            command=child_command(settings, "training", self.key, self.trainer, self.configuration, self.fold),
            shown=f"{shown} -p {settings.plans} --npz --c{gpus}{device}",
            resources=settings.resources(self.configuration, True, HOURS * 60, MEMORY_GB[self.dimension]),
            needs=needs,
            checkpoints=str(self.files.folder),
        )


@dataclass(frozen=True)
class Crossval:
    """All that a cross-validation consists of.

    Attributes:
        trainings, follow_ups: by their keys.
    """

    settings: CrossvalSettings
    trainings: dict[str, Training]
    follow_ups: dict[str, FollowUp]

    def tasks(self) -> dict[str, Task]:
        """Return all tasks by their keys."""
        tasks = {key: training.task() for key, training in self.trainings.items()}
        return tasks | {key: self._follow_up_task(step) for key, step in self.follow_ups.items()}

    def digests(self) -> dict[str, str | None]:
        """Return a digest per training that is done and changes when it is repeated; None for the others."""
        return {key: training.files.digest() for key, training in self.trainings.items()}

    def done(self) -> set[str]:
        """Return the keys of all tasks that are done, as the disk tells."""
        digests = self.digests()
        finished = {key for key, digest in digests.items() if digest is not None}
        return finished | {key for key, step in self.follow_ups.items() if step.is_done(digests)}

    def is_done(self, key: str) -> bool:
        """Return whether one task is done, as the disk tells."""
        if key in self.trainings:
            return self.trainings[key].files.is_done()
        return self.follow_ups[key].is_done(self.digests())

    def _follow_up_task(self, step: FollowUp) -> Task:
        settings = self.settings
        return Task(
            key=step.key,
            group=step.key.replace("/", "__"),
            name=step.kind,
            command=child_command(settings, step.kind, step.key),
            shown=step.shown,
            resources=settings.resources(step.kind, step.kind == "predict", FOLLOW_UP_HOURS * 60, FOLLOW_UP_GB),
            needs=step.needs,
            predictions=str(predictions_folder(settings, step.subject)) if step.kind == "predict" else None,
        )


def list_crossval(settings: CrossvalSettings, plans: dict[str, Any]) -> Crossval:
    """Return all trainings and follow-up steps.

    Args:
        settings: their configurations are in the plan.
        plans: the content of the plans file.
    """
    trainings = {each.key: each for each in _list_trainings(settings, plans)}
    needs = {key: training.trainer for key, training in trainings.items()}
    return Crossval(settings, trainings, {step.key: step for step in list_follow_ups(settings, needs)})


def resolve_configuration(plans: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a configuration of a plans file with what it inherits, as nnU-Net's PlansManager does.

    That would import torch, which takes seconds, for every look at a cross-validation.

    Raises:
        UserError: there is no such configuration, or configurations inherit from each other in a circle.
    """
    resolved: dict[str, Any] = {}
    wanted: str | None = name
    for _ in range(10):
        configuration = plans["configurations"].get(wanted)
        if configuration is None:
            known = ", ".join(plans["configurations"])
            raise UserError(f"{plans.get('plans_name', 'the plans')}: no configuration {wanted}, there are {known}")
        resolved = configuration | resolved
        wanted = configuration.get("inherits_from")
        if wanted is None:
            return resolved
    raise UserError(f"{plans.get('plans_name', 'the plans')}: {name} inherits from itself")


def _list_trainings(settings: CrossvalSettings, plans: dict[str, Any]) -> Iterator[Training]:
    configurations = {name: resolve_configuration(plans, name) for name in settings.configurations}
    for trainer in settings.trainers:
        for name, planned in configurations.items():
            previous, dimension = planned.get("previous_stage"), len(planned["patch_size"])
            next_stages = tuple(other for other, each in configurations.items() if each.get("previous_stage") == name)
            for fold in settings.folds:
                yield Training(settings, trainer, name, fold, previous, next_stages, dimension)


def read_splits(settings: CrossvalSettings) -> list[dict[str, list[str]]]:
    """Return the folds of splits_final.json; an empty list if it isn't written yet."""
    try:
        return list(read_json(preprocessed_dataset(settings.dataset) / "splits_final.json"))
    except (OSError, ValueError, TypeError):
        return []


def child_command(settings: CrossvalSettings, kind: str, key: str, *details: str) -> tuple[str, ...]:
    """Return the command of the process that does a task (`task_process`)."""
    content = TypeAdapter(CrossvalSettings).dump_python(settings, mode="json")
    return (
        sys.executable,
        "-m",
        "ser_nnunet.cluster.task_process",
        kind,
        key,
        *details,
        json.dumps(content, separators=(",", ":")),
    )
