"""What SLURM runs for one task: a callable that submitit stores, calls, and asks to stop before a time limit."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import FrameType

from submitit.helpers import DelayedSubmission

from ser_nnunet.cluster.task_record import DONE, FAILED, TaskRecord
from ser_nnunet.cluster.task_run import TRIES, TaskRun, runs_without_progress
from ser_nnunet.cluster.tasks import Task

KILL_SECONDS = 300.0
"""After SIGTERM, SLURM kills the job (a preemption, scancel); if it hasn't within this time, the task goes on."""


class TaskFailedError(Exception):
    """The task has failed, and so has the job: nothing that needs it may start."""


class TaskJob:
    """A task as a job.

    Args:
        task: to run.
        records: folder of the tasks' records.
    """

    def __init__(self, task: Task, records: Path) -> None:
        self.task, self.records = task, records
        self._run: TaskRun | None = None

    def __call__(self) -> str:
        """Run the task to its end; raises `TaskFailedError`."""
        self._run = run = TaskRun(self.task, TaskRecord(self.records / self.task.key), job_id())
        # submitit ignores SIGTERM, which precedes the kill of a preemption
        signal.signal(signal.SIGTERM, self._stop_and_wait)
        run.start()
        outcome = run.wait()
        if outcome != DONE:
            raise TaskFailedError(f"{self.task.key}: {outcome}, see {run.record.log}")
        return outcome

    def checkpoint(self) -> DelayedSubmission | None:
        """Stop the task; submitit then requeues the job, in which the task resumes.

        Called by submitit's signal handler before a time limit.

        Returns:
            None, which ends the job as failed, if the last runs have not come further: trainings have checkpoints,
            predictions go on with the cases that are left, other tasks begin anew.
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # of the requeue, for whose kill nothing has to wait
        if self._run is not None:
            self._run.stop("time limit or preemption: requeued")
            if runs_without_progress(self._run.record.attempts()) >= TRIES:
                what = "came to an end" if self.task.checkpoints is None else "wrote a checkpoint"
                if self.task.predictions is not None:
                    what = "predicted further cases"
                reason = f"none of {TRIES} runs in a row {what}: a longer --time is needed"
                self._run.record.end_attempt(FAILED, reason, False)
                return None
        return DelayedSubmission(TaskJob(self.task, self.records))

    def _stop_and_wait(self, number: int, frame: FrameType | None) -> None:
        """Stop the task and wait to be killed: a job that ended by itself here would not be requeued by SLURM."""
        assert self._run is not None
        self._run.stop("SIGTERM: preempted or cancelled")
        deadline = time.monotonic() + KILL_SECONDS
        while time.monotonic() < deadline:
            time.sleep(1)
        self._run.resume()


def job_id() -> str:
    """Return SLURM's id of this job, such as `17_3` for a task of an array."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")
