"""The jobs of a cross-validation in SLURM's queue, and whether they are of other settings."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from ser_nnunet.cluster.crossval_settings import CrossvalSettings, read_settings
from ser_nnunet.cluster.crossval_tasks import Crossval
from ser_nnunet.cluster.slurm_queue import QueuedTask, read_queue
from ser_nnunet.errors import UserError
from ser_nnunet.utils.printable import counted

SLURM = "slurm"
IDENTITY = {
    **{"-c": "configurations", "-f": "folds", "-tr": "trainer", "--compare": "compare", "-p": "plans"},
    "--predict": "predict",
}
"""The options, and the settings' names for them, on which results depend; resources may change between commands."""


def jobs_of(settings: CrossvalSettings) -> dict[tuple[str, str], QueuedTask]:
    """Return all of the folder's jobs in SLURM's queue, by group and name; none where SLURM has never been used.

    Raises:
        UserError: SLURM gives no answer, and is to run the tasks.
    """
    if settings.engine != SLURM and not (settings.folder / "submitit").is_dir():
        return {}
    try:
        return read_queue(settings.folder)
    except UserError:
        if settings.engine == SLURM:
            raise
        return {}  # --cluster local goes on without SLURM, too


def queue_of(crossval: Crossval, jobs: Mapping[tuple[str, str], QueuedTask]) -> dict[str, QueuedTask]:
    """Return those of the folder's jobs that are tasks of this cross-validation, by key."""
    keys = {(task.group, task.name): key for key, task in crossval.tasks().items()}
    return {keys[place]: queued for place, queued in jobs.items() if place in keys}


def require_same_settings(crossval: Crossval, jobs: Mapping[tuple[str, str], QueuedTask]) -> None:
    """Raise `UserError` if the queue holds jobs of other settings: steps after the trainings would pass for these.

    The jobs are those of the last command's settings, for others are refused.
    """
    if not jobs:
        return
    settings = crossval.settings
    tasks = {(task.group, task.name) for task in crossval.tasks().values()}
    other = [f"the job {group} ({name})" for group, name in sorted(jobs.keys() - tasks)]
    with suppress(UserError):
        earlier = read_settings(settings.dataset)
        for option, name in IDENTITY.items():
            before, now = (_as_words(getattr(each, name)) for each in (earlier, settings))
            other += [f"{option} {before}, now {now}"] if before != now else []
    if other:
        raise UserError(
            f"{counted(len(jobs), 'job')} of an earlier command with other options {'is' if len(jobs) == 1 else 'are'} "
            f"in SLURM's queue ({'; '.join(other[:5])}): wait until they have ended, or end them by "
            f"ser-nnunet crossval -d {settings.dataset} --cancel"
        )


def _as_words(value: str | tuple[str, ...] | None) -> str:
    return (value if isinstance(value, str) else " ".join(value or ())) or "none"
