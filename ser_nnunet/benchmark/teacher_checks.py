"""Checks that trainers which learn from a teacher have a suitable one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.nnunet.trainers import find_trainer
from ser_nnunet.training.distill_trainer import SERTrainerDistill
from ser_nnunet.training.teacher import Student, read_teacher
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
    taught = []
    for name in names:
        try:
            taught += [name] if issubclass(find_trainer(name), SERTrainerDistill) else []
        except (RuntimeError, AssertionError):
            continue
    problems = []
    for fold, cases in folds.items() if taught else ():
        try:
            read_teacher(os.environ.get(TEACHER), Student(planned, fold, cases))
        except UserError as error:
            problems.append(f"{', '.join(taught)} (fold {fold}): {error}")
    return problems
