"""Running one task: its process is started, watched, ended before a time limit, and started again after a kill."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from ser_nnunet.cluster.child_process import ChildProcess
from ser_nnunet.cluster.task_record import DONE, FAILED, KILLED, STOPPED, Attempt, TaskRecord
from ser_nnunet.cluster.tasks import Task
from ser_nnunet.cluster.training_files import TrainingFiles
from ser_nnunet.cluster.unfinished_predictions import list_masks
from ser_nnunet.utils.locks import ExclusiveLock
from ser_nnunet.utils.variables import CHECKPOINT_SECONDS

TRIES = 3
"""Runs in a row that are killed, or end at the time limit, without coming further; then the task has failed."""

LOCK_SECONDS = 120.0
"""How long a requeued task waits for the end of its earlier process, which a dead node may leave behind."""

LONGEST_BETWEEN_CHECKPOINTS = 600.0
"""Seconds; what a training of SER's loses at most when it is stopped, but for an unfinished epoch."""

MOST_WORKERS = 12  # nnU-Net's own number of processes for data augmentation


class TaskRun:
    """A task that this process runs.

    Args:
        task: to run.
        record: of it.
        job: SLURM's id, or "".
        variables: environment variables in addition to this process's.
    """

    def __init__(
        self, task: Task, record: TaskRecord, job: str = "", variables: Mapping[str, str] | None = None
    ) -> None:
        self.task, self.record, self.job = task, record, job
        self.environment = {**os.environ, **limits_of(task), **(variables or {})}
        self.outcome: str | None = None
        self._child: ChildProcess | None = None
        self._lock = ExclusiveLock(record.lock, f"the task {task.key}")
        self._begun, self._masks = 0.0, 0

    def start(self, lock_seconds: float = LOCK_SECONDS) -> None:
        """Start the task's process.

        Raises:
            UserError: another process runs the task, and still does after `lock_seconds`.
            OSError: the task's folder can't be written.
        """
        self.record.folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(lock_seconds)
        self._launch()

    def poll(self) -> str | None:
        """Return the outcome; None while the task runs, or is started again after it was killed."""
        status = self._child.poll() if self._child is not None and self.outcome is None else None
        if status is None or self.outcome is not None:
            return self.outcome
        assert self._child is not None
        self._child.kill_group()
        if status == 0:
            self._end(DONE, "")
        elif status > 0:
            self._end(FAILED, f"exit status {status}")
        else:
            self._end(KILLED, f"killed by signal {-status} ({signal.Signals(-status).name})", last=False)
            if runs_without_progress(self.record.attempts()) < TRIES:
                self._launch()
            else:
                self._end(FAILED, f"killed {TRIES} times without coming further (memory? see the log)")
        return self.outcome

    def wait(self, seconds: float = 0.5) -> str:
        """Watch the task until it has an outcome."""
        while (outcome := self.poll()) is None:
            time.sleep(seconds)
        return outcome

    def stop(self, reason: str) -> None:
        """End the task's process, which may happen within a signal handler."""
        if self._child is not None and self.outcome is None:
            self._child.end()
            self._end(STOPPED, reason)

    def resume(self) -> None:
        """Start a task again that was stopped."""
        self.outcome = None
        self.start()

    def _launch(self) -> None:
        self._begun, self._masks = time.time(), count_masks(self.task)
        self.record.begin_attempt(self.job)
        self._child = ChildProcess(self.task.command, self.environment, self.record.log)

    def _end(self, outcome: str, reason: str, last: bool = True) -> None:
        progressed = count_masks(self.task) > self._masks
        if self.task.checkpoints is not None:
            progressed = TrainingFiles(Path(self.task.checkpoints)).last_saved() >= self._begun
        self.record.end_attempt(outcome, reason, progressed)
        if last:
            self.outcome = outcome
            self._lock.release()


def runs_without_progress(attempts: list[Attempt]) -> int:
    """Return how many of the last attempts in a row neither ended by themselves nor came further."""
    count = 0
    for attempt in reversed(attempts):
        if attempt.progressed or attempt.outcome not in (KILLED, STOPPED):
            break
        count += 1
    return count


def count_masks(task: Task) -> int:
    """Return how many masks a prediction has written so far; 0 for other tasks."""
    return 0 if task.predictions is None else len(list_masks(Path(task.predictions)))


def limits_of(task: Task) -> dict[str, str]:
    """Return the variables by which nnU-Net and its libraries keep to the job's cores and time limit."""
    resources = task.resources
    seconds = min(LONGEST_BETWEEN_CHECKPOINTS, resources.minutes * 60 / 50)
    threads = 1 if resources.gpus else resources.cpus
    return {
        "nnUNet_n_proc_DA": str(max(1, min(MOST_WORKERS, resources.cpus - 1)) if resources.cpus > 1 else 0),
        "nnUNet_def_n_proc": str(max(1, min(8, resources.cpus))),
        "OMP_NUM_THREADS": str(threads),
        "PYTHON_CPU_COUNT": str(resources.cpus),  # what os.cpu_count() returns, from Python 3.13 on
        "PYTHONUNBUFFERED": "1",
        CHECKPOINT_SECONDS: f"{seconds:g}",
    }
