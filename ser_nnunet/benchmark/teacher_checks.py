"""Trainers which learn from a teacher: they have a suitable one, and the runs of one table had the same."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from ser_nnunet.benchmark.run_provenance import refuse_runs
from ser_nnunet.benchmark.runs import Run
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.nnunet.trained_model import read_trained_model
from ser_nnunet.nnunet.trainers import find_trainer
from ser_nnunet.training.distill_trainer import SERTrainerDistill
from ser_nnunet.training.teacher import Student, read_teacher
from ser_nnunet.utils.hashing import file_sha256
from ser_nnunet.utils.variables import TEACHER


def find_teacher_problems(
    names: Sequence[str], planned: PlannedConfiguration, folds: Mapping[int, Sequence[str]]
) -> list[str]:
    """Return why the trainers among these that learn from a teacher can't, in sentences.

    Args:
        names: trainers, as after `-tr`; one that doesn't exist is left to `find_trainer_problems`.
        planned: what they are trained for.
        folds: the folds, each with its validation cases.
    """
    taught, problems = list_taught(names), []
    for fold, cases in folds.items() if taught else ():
        try:
            read_teacher(os.environ.get(TEACHER), Student(planned, fold, cases))
        except UserError as error:
            problems.append(f"{', '.join(taught)} (fold {fold}): {error}")
    return problems


def list_taught(names: Sequence[str]) -> list[str]:
    """Return the trainers among these that exist and learn from a teacher."""
    taught = []
    for name in names:
        try:
            taught += [name] if issubclass(find_trainer(name), SERTrainerDistill) else []
        except (RuntimeError, AssertionError):
            continue
    return taught


def record_teachers(folds: Iterable[int]) -> dict[str, str]:
    """Return fold -> SHA-256 of the teacher's checkpoint, because the file behind a path may change."""
    folder = os.environ[TEACHER]
    return {str(fold): file_sha256(read_trained_model(folder, fold).checkpoint) for fold in folds}


def refuse_other_teachers(runs: Iterable[Run], teachers: Mapping[str, str]) -> None:
    """Refuse to train further runs with another teacher than that of the same fold's runs that have begun.

    Args:
        runs: all runs of the output folder.
        teachers: what `record_teachers` returned.

    Raises:
        UserError: naming every run with another teacher.
    """
    others = {}
    for run in runs:
        fold, used = str(run.record.get("fold")), run.record.get("teachers") or {}
        if used.get(fold, teachers.get(fold)) != teachers.get(fold):
            others[run] = f"SHA-256 {used[fold][:12]}, now {teachers.get(fold, 'none')[:12]}"
    refuse_runs("had another teacher", others, f"set {TEACHER} to the same model")


def describe_teachers(runs: Sequence[Run]) -> str:
    """Return the first 12 digits of every teacher's SHA-256 by fold, as text; `none` if no run had one."""
    used: dict[str, str] = {}
    for run in runs:
        used |= run.record.get("teachers") or {}
    return ", ".join(f"fold {fold}: SHA-256 {sha256[:12]}" for fold, sha256 in sorted(used.items())) or "none"
