"""A queue for one machine: one task per GPU at a time, or one at all where there is none."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ser_nnunet.cluster.task_record import DONE, FAILED, Submission, TaskRecord
from ser_nnunet.cluster.task_run import TaskRun
from ser_nnunet.cluster.tasks import Task, held_up_by
from ser_nnunet.errors import UserError

VISIBLE = "CUDA_VISIBLE_DEVICES"
LOCK_SECONDS = 10.0


def find_slots(device: str, gpus_per_job: int) -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES is for every task that may run at a time: one for no GPU.

    Raises:
        UserError: fewer GPUs than a task needs.
    """
    if device != "cuda":
        return [""]
    visible = os.environ.get(VISIBLE)
    if visible is None:
        import torch

        gpus = [str(index) for index in range(torch.cuda.device_count())]
    else:
        gpus = [gpu for gpu in visible.split(",") if gpu.strip()]
    slots = [",".join(gpus[at : at + gpus_per_job]) for at in range(0, len(gpus) - gpus_per_job + 1, gpus_per_job)]
    if not slots:
        raise UserError(f"{len(gpus)} GPUs found, {gpus_per_job} needed (--gpus-per-job); without one: -device cpu")
    return slots


def run_queue(
    tasks: Mapping[str, Task],
    records: Path,
    slots: Sequence[str],
    report: Callable[[str], object] = print,
    poll: float = 0.5,
) -> dict[str, str]:
    """Run tasks one after another in every slot, each after those that it needs; a failed one stops no others.

    If this process is interrupted, the running tasks are stopped; they resume with the next call.

    Args:
        tasks: those that aren't done, by key.
        records: folder of the tasks' records.
        slots: see `find_slots`.
        report: called with a line per event.
        poll: seconds between two looks at the running tasks.

    Returns:
        Key -> outcome; tasks that need a failed one have none.
    """
    outcomes: dict[str, str] = {}
    running: dict[str, TaskRun] = {}
    now = time.time()
    for task in tasks.values():
        TaskRecord(records / task.key).submit(Submission("local", now))
    try:
        while True:
            for slot in slots:
                chosen = None if slot in running else _next_task(tasks, outcomes, running)
                if chosen is not None:
                    _start(chosen, slot, TaskRecord(records / chosen.key), running, outcomes, report)
            if not running and _next_task(tasks, outcomes, running) is None:
                break
            time.sleep(poll)
            for slot, run in list(running.items()):
                outcome = run.poll()
                if outcome is not None:
                    outcomes[run.task.key] = outcome
                    del running[slot]
                    report(f"{_clock()} {run.task.key}: {outcome}; {len(tasks) - len(outcomes)} to go")
    finally:
        for run in running.values():
            run.stop("interrupted")
    failed = {key for key, outcome in outcomes.items() if outcome != DONE}
    for key in sorted(tasks.keys() - outcomes.keys()):
        report(f"{key} was not run: it needs {', '.join(held_up_by(tasks[key], tasks, failed))}")
    return outcomes


def _next_task(tasks: Mapping[str, Task], outcomes: Mapping[str, str], running: Mapping[str, TaskRun]) -> Task | None:
    """Return the first task that has not been run and needs nothing that isn't done."""
    begun = {*outcomes, *(run.task.key for run in running.values())}
    for key, task in tasks.items():
        if key not in begun and all(need not in tasks or outcomes.get(need) == DONE for need in task.needs):
            return task
    return None


def _start(
    task: Task,
    slot: str,
    record: TaskRecord,
    running: dict[str, TaskRun],
    outcomes: dict[str, str],
    report: Callable[[str], object],
) -> None:
    run = TaskRun(task, record, variables={VISIBLE: slot})
    try:
        run.start(LOCK_SECONDS)
    except UserError as error:
        outcomes[task.key] = FAILED
        report(f"{_clock()} {task.key}: failed: {error}")
        return
    running[slot] = run
    report(f"{_clock()} {task.key}: started{f' on GPU {slot}' if slot else ''}")


def _clock() -> str:
    return time.strftime("%H:%M:%S")
