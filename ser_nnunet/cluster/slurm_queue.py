"""SLURM's commands: which tasks are in the queue, and whether a job would be accepted."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ser_nnunet.cluster.tasks import Task
from ser_nnunet.errors import UserError

PREFIX = "ser-nnunet"
SECONDS = 60
"""For an answer of SLURM's."""

CLOSED = "partition not available"
"""Of a partition that is down or drained; jobs are accepted and wait."""

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "DEADLINE")


@dataclass(frozen=True)
class QueuedTask:
    """A task in SLURM's queue.

    Attributes:
        job: such as `17_3`.
        state: `PENDING`, `RUNNING`, ...
        time_left: until the time limit, in SLURM's writing.
        reason: why it waits.
        node: where it runs.
    """

    job: str
    state: str
    time_left: str = ""
    reason: str = ""
    node: str = ""

    @property
    def is_running(self) -> bool:
        """Whether it has a node."""
        return self.state in ("RUNNING", "COMPLETING", "STOPPED", "SUSPENDED")


def slurm(*command: str, tries: int = 1) -> str:
    """Return what a command of SLURM's prints; `UserError` if it isn't there or fails `tries` times."""
    if shutil.which(command[0]) is None:
        raise UserError(
            f"no SLURM here: {command[0]} isn't on PATH. Run this on a login node of the cluster, or train on this "
            "machine with --cluster local"
        )
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise UserError(f"SLURM gives no answer within {SECONDS} s ({command[0]}): try again later") from None
    if done.returncode and tries > 1:
        time.sleep(2)
        return slurm(*command, tries=tries - 1)
    if done.returncode:
        raise UserError(f"{command[0]}: {' '.join((done.stderr or done.stdout).split())}")
    return done.stdout


def comment_of(folder: Path, group: str, names: Iterable[str]) -> str:
    """Return the comment by which a job array's tasks are recognised in the queue.

    Args:
        folder: of the cross-validation; a digest of it tells two apart.
        group: of the tasks.
        names: of the tasks in the array's order.
    """
    return f"{PREFIX}:{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}:{group}:{','.join(names)}"


def read_queue(folder: Path) -> dict[tuple[str, str], QueuedTask]:
    """Return all tasks in SLURM's queue that belong to a folder, by group and name, whatever settings they have.

    SLURM itself knows which they are: a submission that was killed before it could be noted isn't repeated.

    Args:
        folder: of the cross-validation.
    """
    prefix = comment_of(folder, "", ()).removesuffix(":")  # ends with a colon, too
    found = {}
    for line in slurm("squeue", "-h", "-r", "-u", str(os.getuid()), "-o", "%i|%T|%L|%r|%N|%k", tries=3).splitlines():
        job, state, time_left, reason, node, comment = (line.split("|", 5) + [""] * 6)[:6]
        if not comment.startswith(prefix) or state in ENDED:
            continue
        group, _, names = comment.removeprefix(prefix).rpartition(":")
        index = job.partition("_")[2]
        name = dict(enumerate(names.split(","))).get(int(index) if index.isdigit() else 0, "")
        found[group, name] = QueuedTask(job, state, time_left, reason, node)
    return found


def sbatch_options(task: Task) -> dict[str, str]:
    """Return the options of sbatch that a task's resources mean."""
    resources = task.resources
    options = {
        "time": str(resources.minutes),
        "cpus_per_task": str(resources.cpus),
        "mem": f"{round(resources.memory_gb * 1024)}M",
        "nodes": "1",
        "ntasks_per_node": "1",
        **({"gpus_per_node": str(resources.gpus)} if resources.gpus else {}),
    }
    return options | {name.replace("-", "_"): value for name, value in resources.slurm.items()}


def refused_submission(options: Mapping[str, str]) -> str | None:
    """Return why SLURM would not accept a job with these options of sbatch, None if it would.

    A partition that is closed at the moment is no reason: the job waits.
    """
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    try:
        slurm("sbatch", "--test-only", *flags, "--wrap", "true")
    except UserError as error:
        return None if CLOSED in str(error) else str(error)
    return None


def time_limits() -> dict[str, int]:
    """Return the time limit of every partition in minutes; the default one's also as ""; none where there is none.

    `sbatch --test-only` accepts more, and the job then waits for ever.
    """
    limits = {}
    for line in slurm("sinfo", "-h", "-o", "%P|%l").splitlines():
        name, _, limit = line.strip().partition("|")
        days, _, clock = limit.rpartition("-")
        parts = clock.split(":")
        if all(part.isdigit() for part in parts):  # else: infinite
            hours, minutes, _ = map(int, ["0", *parts][-3:])
            limits[name.rstrip("*")] = (int(days or 0) * 24 + hours) * 60 + minutes
            if name.endswith("*"):
                limits[""] = limits[name.rstrip("*")]
    return limits


def last_state(job: str) -> str:
    """Return what SLURM remembers of a job that has left the queue, such as `OUT_OF_MEMORY`; "" for nothing."""
    for command in (["sacct", "-n", "-P", "-X", "-o", "State", "-j", job], ["scontrol", "-o", "show", "job", job]):
        try:
            text = slurm(*command)
        except UserError:
            continue
        words = text.split("JobState=")[-1].split()
        if words and words[0].rstrip("+") in ENDED:
            return words[0]
    return ""
