"""Starting a cross-validation, going on with one, looking at one, cancelling one."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ser_nnunet.cluster.crossval_jobs import SLURM, jobs_of, queue_of, require_same_settings
from ser_nnunet.cluster.crossval_settings import CrossvalSettings
from ser_nnunet.cluster.crossval_states import (
    COMMAND_LOCK,
    UNDER_WAY,
    TaskState,
    is_another_command_running,
    read_states,
    running_command,
)
from ser_nnunet.cluster.crossval_tasks import Crossval, list_crossval, read_splits
from ser_nnunet.cluster.local_engine import find_slots, run_queue
from ser_nnunet.cluster.slurm_queue import sbatch_options, slurm
from ser_nnunet.cluster.task_record import TaskRecord
from ser_nnunet.cluster.tasks import Task, held_up_by, waves
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import preprocessed_dataset
from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, with_trainers
from ser_nnunet.utils.files import read_json, remove
from ser_nnunet.utils.locks import ExclusiveLock
from ser_nnunet.utils.printable import counted
from ser_nnunet.utils.processes import usable_cores
from ser_nnunet.utils.variables import environment

LOCAL = "local"


def read_plans(settings: CrossvalSettings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return plans and dataset.json of the planned data set; `UserError` if they can't be read."""
    contents = []
    for name in (f"{settings.plans}.json", "dataset.json"):
        file = preprocessed_dataset(settings.dataset) / name
        try:
            contents.append(dict(read_json(file)))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{file} can't be read, run nnUNetv2_plan_and_preprocess first ({error})") from error
    return contents[0], contents[1]


def prepare(settings: CrossvalSettings) -> Crossval:
    """Check everything and return what there is to do; nothing is written.

    Raises:
        UserError: all problems, one per line.
    """
    if os.name == "nt":
        raise UserError("crossval starts and ends processes as Linux and macOS do; Windows can't")
    if settings.engine == SLURM and find_spec("submitit") is None:
        raise UserError("submitit is missing: pip install 'ser-nnunet[cluster]'")
    # Imports torch and nnU-Net, which --status and --cancel can do without.
    from ser_nnunet.cluster.crossval_checks import (
        find_fold_problems,
        find_place_problems,
        find_settings_problems,
        find_slurm_problems,
        find_trainers_problems,
    )

    plans, dataset = read_plans(settings)
    problems = list(find_settings_problems(settings, plans))
    problems += find_trainers_problems(settings, plans, dataset)
    problems += find_place_problems(settings)
    if problems:
        raise UserError("nothing is submitted:\n" + "\n".join(f"  {problem}" for problem in problems))
    crossval = list_crossval(settings, plans)
    problems = list(find_fold_problems(settings, crossval))
    problems += find_slurm_problems(crossval) if settings.engine == SLURM else []
    if problems:
        raise UserError("nothing is submitted:\n" + "\n".join(f"  {problem}" for problem in problems))
    return crossval


def open_crossval(settings: CrossvalSettings) -> Crossval:
    """Return a cross-validation as its settings describe it, without checks."""
    return list_crossval(settings, read_plans(settings)[0])


def run(settings: CrossvalSettings, report: Callable[[str], object] = print) -> bool:
    """Do all that isn't done and isn't under way: submit it to SLURM, or run it on this machine.

    Returns:
        Whether all is done (on this machine) or under way (SLURM).

    Raises:
        UserError: something would stop it (all at once), or another command is at work on the data set.
    """
    slots = find_slots(settings.device, settings.gpus_per_job) if settings.engine == LOCAL else []
    if slots:
        settings = replace(settings, cpus_per_job=max(1, min(settings.cpus_per_job, usable_cores() // len(slots))))
    crossval = prepare(settings)
    settings.folder.mkdir(parents=True, exist_ok=True)
    with ExclusiveLock(settings.folder / COMMAND_LOCK, f"ser-nnunet crossval of {settings.dataset}"):
        jobs = jobs_of(settings)
        require_same_settings(crossval, jobs)
        write_splits(crossval)
        settings.write()
        queue = queue_of(crossval, jobs)
        states = read_states(crossval, queue)
        pending = {key: state.task for key, state in states.items() if state.state not in ("done", *UNDER_WAY)}
        report(describe_work(states, len(pending)))
        if settings.engine == LOCAL:
            under_way = [key for key, state in states.items() if state.state in UNDER_WAY]
            ready = leave_out_held_up(pending, under_way, report)
            outcomes = run_queue(ready, settings.folder / "tasks", slots, report)
            return all(outcomes.get(key) == "done" for key in pending)
        from ser_nnunet.cluster.slurm_engine import submit

        submit(list(pending.values()), queue, settings.folder, report)
    return True


def leave_out_held_up(
    pending: Mapping[str, Task], under_way: Sequence[str], report: Callable[[str], object]
) -> dict[str, Task]:
    """Return the tasks that need nothing of what is under way elsewhere, and report the others."""
    waits = {key: held_up_by(task, pending, under_way) for key, task in pending.items()}
    for key, needs in waits.items():
        if needs:
            report(f"{key} is not started: it needs {', '.join(needs)}, under way elsewhere; the same command goes on")
    return {key: task for key, task in pending.items() if not waits[key]}


def describe_work(states: dict[str, TaskState], pending: int) -> str:
    """Return what is done, under way and to be started, in a sentence."""
    done = sum(state.state == "done" for state in states.values())
    under_way = len(states) - done - pending
    return f"{counted(len(states), 'task')}: {done} done, {under_way} under way, {pending} to start"


def describe_plan(crossval: Crossval) -> list[str]:
    """Return what would be done, as lines: waves, groups, resources, commands."""
    done, lines = crossval.done(), []
    pending = {key: task for key, task in crossval.tasks().items() if key not in done}
    if done:
        lines.append(f"{len(done)} tasks are done: {', '.join(sorted(done))}")
    needed = {key for task in pending.values() for key in task.needs}
    for number, wave in enumerate(waves(pending.values(), needed - pending.keys()), 1):
        lines.append(f"wave {number}")
        for group in wave:
            names = ", ".join(task.name for task in group)
            lines.append(f"  {group[0].group} ({names})")
            if crossval.settings.engine == SLURM:
                lines.append("    " + " ".join(f"{name}={value}" for name, value in sbatch_options(group[0]).items()))
            waits = [key for key in group[0].needs if key in pending]
            lines += [f"    after {', '.join(waits)}"] if waits else []
            lines += [f"    {task.shown}" for task in group]
    return lines


def write_splits(crossval: Crossval) -> None:
    """Let nnU-Net write splits_final.json before the first training, so that folds don't race for it.

    The trainer's own method is called, because a trainer may split in its own way.
    """
    settings = crossval.settings
    if "all" in settings.folds or read_splits(settings) or not crossval.trainings:
        return
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    first = next(iter(crossval.trainings.values()))
    variables = environment({EXTERNAL_TRAINERS: with_trainers(os.environ.get(EXTERNAL_TRAINERS))})
    with variables, contextlib.redirect_stdout(io.StringIO()):  # nnU-Net's search for the trainer, and its citation
        arguments = (settings.dataset, first.configuration, int(first.fold), first.trainer, settings.plans)
        trainer = get_trainer_from_args(*arguments, device=torch.device("cpu"))
        try:
            trainer.do_split()
        finally:
            remove(Path(trainer.log_file))


def cancel(crossval: Crossval, report: Callable[[str], object] = print) -> None:
    """End all that is under way, also of other settings; what is done stays, and the same command goes on later."""
    settings = crossval.settings
    process = running_command(settings.folder)
    if process is not None:
        os.kill(process, signal.SIGTERM)
        report(f"the command with the process id {process} ends its trainings")
    elif is_another_command_running(settings.folder):
        holder = ExclusiveLock(settings.folder / COMMAND_LOCK, "").describe_holder()
        raise UserError(f"ser-nnunet crossval runs on another machine{holder}: give --cancel there")
    jobs = [queued.job for queued in jobs_of(settings).values()]
    if jobs:
        slurm("scancel", *jobs)
        report(f"{counted(len(jobs), 'job')} cancelled")
    for folder in (settings.folder / "tasks").glob("*/*"):
        record = TaskRecord(folder)
        submission = record.submission()
        if submission is not None and submission.job in jobs:
            record.submit(replace(submission, cancelled=True))
    if process is None and not jobs:
        report("nothing is under way")


def watch(
    crossval: Crossval, show: Callable[[Sequence[TaskState]], object], seconds: float | None
) -> dict[str, TaskState]:
    """Show the states once, or again and again until nothing is under way.

    Args:
        crossval: to look at.
        show: called with all states.
        seconds: between two looks; None looks once.

    Returns:
        The last states.
    """
    while True:
        states = read_states(crossval, queue_of(crossval, jobs_of(crossval.settings)))
        show(list(states.values()))
        if seconds is None or not any(state.state in UNDER_WAY for state in states.values()):
            return states
        time.sleep(seconds)
