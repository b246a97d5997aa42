"""Where every task of a cross-validation stands: from the disk first, then from the engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ser_nnunet.cluster.crossval_tasks import Crossval
from ser_nnunet.cluster.slurm_queue import QueuedTask, last_state
from ser_nnunet.cluster.task_record import FAILED, STOPPED, Attempt, Submission, TaskRecord
from ser_nnunet.cluster.tasks import Task, held_up_by
from ser_nnunet.cluster.training_log import Progress, read_progress
from ser_nnunet.utils.locks import ExclusiveLock

RUNNING, WAITING, REQUEUED, HELD_UP = "running", "waiting", "requeued", "held up"
CANCELLED, ABSENT = "cancelled", "not submitted"
DONE = "done"
COMMAND_LOCK = ".command.lock"
"""In the folder of a cross-validation: held by the command that starts, goes on with or trains it."""
UNDER_WAY = (RUNNING, WAITING, REQUEUED)


@dataclass(frozen=True)
class TaskState:
    """Where one task stands.

    Attributes:
        state: one of those above, `failed` or `stopped`.
        requeues: how often it was started again.
        reason: of a failure, of waiting.
        dice: of the validation cases, or the last epoch's pseudo Dice while it runs.
        progress: of a training.
        tail: last lines of a failed task's output.
        log: its whole output.
    """

    task: Task
    state: str
    requeues: int = 0
    reason: str = ""
    dice: float | None = None
    progress: Progress | None = None
    tail: tuple[str, ...] = ()
    log: Path = Path()


def read_states(crossval: Crossval, queue: Mapping[str, QueuedTask]) -> dict[str, TaskState]:
    """Return where every task stands, by key.

    Args:
        crossval: all that there is to do.
        queue: what SLURM has in its queue; empty without SLURM.
    """
    tasks, done = crossval.tasks(), crossval.done()
    command_lives = is_another_command_running(crossval.settings.folder)
    states: dict[str, TaskState] = {}
    for key, task in tasks.items():
        record = TaskRecord(crossval.settings.folder / "tasks" / key)
        attempts = record.attempts()
        training = crossval.trainings.get(key)
        progress = read_progress(training.files.folder) if training else None
        state, reason = (DONE, "") if key in done else _state_of(record, attempts, queue.get(key), command_lives)
        unfinished = [other for other, each in states.items() if each.state in (FAILED, STOPPED, CANCELLED)]
        blocking = held_up_by(task, tasks, unfinished)
        if blocking and (state in (ABSENT, WAITING, STOPPED, CANCELLED) or (state == FAILED and not attempts)):
            state, reason = HELD_UP, f"by {', '.join(blocking[:3])}{' ...' if len(blocking) > 3 else ''}"
        dice = progress.dice if progress else None
        if state == DONE and training:
            dice = training.files.validation_dice()
        requeues = max(0, len(attempts) - (state != REQUEUED))
        tail = tuple(record.tail()) if state == FAILED else ()
        states[key] = TaskState(task, state, requeues, reason, dice, progress, tail, record.log)
    return states


def _state_of(
    record: TaskRecord, attempts: list[Attempt], queued: QueuedTask | None, command_lives: bool
) -> tuple[str, str]:
    """Return state and reason of a task that isn't done."""
    last = attempts[-1] if attempts else None
    if queued is not None:
        if queued.is_running:
            where = f" on {queued.node}" if queued.node else ""  # SLURM names neither for a moment
            left = f", {queued.time_left} of its time left" if queued.time_left else ""
            return RUNNING, f"job {queued.job}{where}{left}"
        return REQUEUED if attempts else WAITING, f"job {queued.job}, {queued.reason}"
    if last is not None and record.is_alive(last):
        return RUNNING, f"process {last.process} on {last.host}"
    submission = record.submission()
    if submission is None:
        return ABSENT, ""
    if submission.cancelled:
        return CANCELLED, ""
    if last is None or last.started < submission.date - 1:
        return _never_begun(submission, record.folder, command_lives)
    if last.outcome in (FAILED, STOPPED):
        return last.outcome, last.reason
    if last.outcome == DONE:
        return ABSENT, "what it was made from, or its results, have changed since: give the command again"
    remembered = last_state(last.job) if last.job else ""
    return FAILED, f"killed{f' ({remembered})' if remembered else ''}"


def _never_begun(submission: Submission, folder: Path, command_lives: bool) -> tuple[str, str]:
    """Return state and reason of a submitted task that is in no queue of SLURM's and has not begun since."""
    if submission.engine == "local":
        return (WAITING, "") if command_lives else (STOPPED, "the command was interrupted")
    remembered = last_state(submission.job)
    why = f"job {submission.job} has left the queue without a start{f' ({remembered})' if remembered else ''}"
    return FAILED, f"{why}: does its node see {folder}?"


def running_command(folder: Path) -> int | None:
    """Return the process id of a `ser-nnunet crossval` that runs on this machine for this folder, or None."""
    process = ExclusiveLock(folder / COMMAND_LOCK, "").holding_process()
    return None if process == os.getpid() else process


def is_another_command_running(folder: Path) -> bool:
    """Return whether a `ser-nnunet crossval` other than this one runs for this folder, on any machine."""
    lock = ExclusiveLock(folder / COMMAND_LOCK, "")
    held = lock.is_held()
    return running_command(folder) is not None if held is None else held and not lock.is_ours()
