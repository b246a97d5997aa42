"""Tasks as SLURM's jobs, through submitit: one array per group, each after the jobs that it needs."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import submitit
from submitit.core.utils import FailedJobError

from ser_nnunet.cluster.slurm_job import TaskJob
from ser_nnunet.cluster.slurm_queue import QueuedTask, comment_of, sbatch_options
from ser_nnunet.cluster.task_record import Submission, TaskRecord
from ser_nnunet.cluster.tasks import Task, waves
from ser_nnunet.errors import UserError

MOST_REQUEUES = 1000
"""By time limits; submitit's default of 3 would end a training of a week in jobs of a day."""

LARGEST_ARRAY = 150  # the comment that names an array's tasks has 1024 characters at most; MaxArraySize is 1001
SIGNAL_SECONDS = 90
"""Before the time limit, for the training to end; SLURM may be up to a minute early."""


def submit(
    tasks: Sequence[Task], active: Mapping[str, QueuedTask], folder: Path, report: Callable[[str], object] = print
) -> dict[str, str]:
    """Submit tasks, wave by wave.

    Args:
        tasks: those that are neither done nor in the queue.
        active: tasks that are in the queue already; the new ones wait for them, too.
        folder: of the cross-validation.
        report: called with a line per array.

    Returns:
        Key -> job of the submitted tasks.

    Raises:
        UserError: SLURM refuses a job; the arrays before it are submitted.
    """
    jobs = {key: queued.job for key, queued in active.items()}
    needed = {key for task in tasks for key in task.needs}
    done = needed - {task.key for task in tasks}
    logs = folder / "submitit" / time.strftime("%Y%m%d_%H%M%S")
    submitted: dict[str, str] = {}
    for wave in waves(tasks, done):
        for group in wave:
            for at in range(0, len(group), LARGEST_ARRAY):
                part = group[at : at + LARGEST_ARRAY]
                with uninterrupted():
                    ids = _submit_array(part, jobs, submitted, folder, logs)
                jobs |= ids
                submitted |= ids
                first = ids[part[0].key].partition("_")[0]
                names = ", ".join(task.name for task in part)
                report(f"job {first}: {part[0].group} ({names})")
    return submitted


def _submit_array(
    tasks: Sequence[Task], jobs: Mapping[str, str], new: Mapping[str, str], folder: Path, logs: Path
) -> dict[str, str]:
    first, records = tasks[0], folder / "tasks"
    options = sbatch_options(first)
    needs = _shorten([jobs[key] for key in first.needs if key in jobs], list(new.values()))
    if needs:
        options |= {"dependency": f"afterok:{':'.join(needs)}", "kill-on-invalid-dep": "yes"}
    executor = submitit.SlurmExecutor(folder=logs, max_num_timeout=MOST_REQUEUES)
    minutes = first.resources.minutes
    executor.update_parameters(
        job_name=f"ser_{first.group}",
        time=minutes,
        comment=comment_of(folder, first.group, [task.name for task in tasks]),
        signal_delay_s=min(SIGNAL_SECONDS, minutes * 15),
        array_parallelism=len(tasks),
        stderr_to_stdout=True,
        additional_parameters={**options, "requeue": True},
        # since 22.05, srun doesn't take over the job's number of cores
        srun_args=[f"--cpus-per-task={options['cpus_per_task']}"],
    )
    try:
        with executor.batch():
            submissions = [executor.submit(TaskJob(task, records)) for task in tasks]
    except FailedJobError as error:
        raise UserError(
            f"SLURM refuses {first.group}: {' '.join(str(error).split())}. What was submitted before goes on, the same "
            "command submits the rest"
        ) from None
    ids = {task.key: str(job.job_id) for task, job in zip(tasks, submissions, strict=True)}
    now = time.time()
    for key, job in ids.items():
        TaskRecord(records / key).submit(Submission("slurm", now, job))
    return ids


def _shorten(needs: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return job ids, with an array's own id in place of its tasks' if all of them are needed.

    Args:
        needs: job ids.
        new: those of this submission. Of an earlier array a task may have failed, which would hold everything up.
    """
    arrays: dict[str, list[str]] = {}
    for job in needs:
        arrays.setdefault(job.partition("_")[0], []).append(job)
    sizes = {array: sum(job.partition("_")[0] == array for job in new) for array in arrays}
    return [each for array, jobs in arrays.items() for each in ([array] if len(jobs) == sizes[array] > 1 else jobs)]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block has ended: a job whose files are missing would fail."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows, which has no SLURM
        yield
        return
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
