"""Everything that can happen to a job, with trainings that need no data set and hardly any of the processor's time."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ser_nnunet.cluster import slurm_engine
from ser_nnunet.cluster.crossval_settings import Resources
from ser_nnunet.cluster.slurm_queue import read_queue
from ser_nnunet.cluster.task_record import TaskRecord
from ser_nnunet.cluster.tasks import Task
from ser_nnunet.cluster.training_files import CHECKPOINTS, TrainingFiles, is_whole
from ser_nnunet.cluster.training_log import read_progress
from tests.slurm_suite.scenario import lost_epochs
from tests.slurm_suite.slurm_cluster import SlurmCluster

SCRIPT = Path(__file__).with_name("toy_training.py")
SAVE_EVERY = 3
KILLS = 10


class ToyJobs:
    """Toy trainings as SLURM's jobs."""

    def __init__(
        self, cluster: SlurmCluster, names: list[str], epochs: int, minutes: int, seconds: float = 1.0
    ) -> None:
        os.environ.update(cluster.environment)
        self.cluster, self.folder = cluster, Path(tempfile.mkdtemp(prefix="toy_"))
        resources = Resources(0, 1, minutes, 0.1, {"partition": "test"})
        self.tasks = {}
        for name in names:
            folder = str(self.folder / "results" / name)
            command = (sys.executable, "-S", str(SCRIPT), folder, str(epochs), str(seconds), str(SAVE_EVERY))
            self.tasks[name] = Task(name, "toy", name, command, "", resources, checkpoints=folder)
        self.epochs = epochs
        self.submit(names)

    def submit(self, names: list[str]) -> None:
        tasks = [self.tasks[name] for name in names]
        ids = slurm_engine.submit(tasks, {}, self.folder, lambda line: None)
        self.ids = {**getattr(self, "ids", {}), **ids}

    def results(self, name: str) -> Path:
        return self.folder / "results" / name

    def record(self, name: str) -> TaskRecord:
        return TaskRecord(self.folder / "tasks" / name)

    def queue(self) -> set[str]:
        return {name for _, name in read_queue(self.folder)}

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 600) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what}: still not after {seconds} s"
            time.sleep(0.2)

    def wait_for_epoch(self, name: str, epoch: int) -> None:
        self.wait(lambda: read_progress(self.results(name)).finished >= epoch, f"epoch {epoch} of {name}")

    def kill_training(self, name: str) -> None:
        found = re.findall(r"process (\d+)", self.record(name).log.read_text())
        with suppress(ProcessLookupError):
            os.kill(int(found[-1]), signal.SIGKILL)

    def finish(self, name: str, what: str) -> list[int]:
        """Wait for the end, check that all is whole, and return the epochs that were trained again."""
        folder = self.results(name)
        self.wait(TrainingFiles(folder).is_done, f"the end of {name}")
        self.wait(lambda: name not in self.queue(), f"{name} to leave the queue")
        for checkpoint in CHECKPOINTS:
            assert not (folder / checkpoint).exists() or is_whole(folder / checkpoint)
        progress, lost = read_progress(folder), lost_epochs(folder)
        assert sorted(progress.epochs) == list(range(self.epochs)), f"{name}: {sorted(progress.epochs)}"
        attempts = [
            f"{attempt.outcome} ({attempt.reason})".replace(" ()", "") for attempt in self.record(name).attempts()
        ]
        print(f"{what}\n  runs: {'; '.join(attempts)}")
        print(f"  started at the epochs {list(progress.starts)}; finished epochs trained again {lost}\n", flush=True)
        assert len(progress.starts) > 1 and max(lost) <= SAVE_EVERY
        return lost


def stops_and_kills(cluster: SlurmCluster) -> None:
    """`scancel --signal`, `kill -9` of the training, a preemption: each to one training."""
    jobs = ToyJobs(cluster, ["signal", "kill"], epochs=40, minutes=60)
    jobs.wait_for_epoch("signal", 5)
    cluster.command("scancel", "--signal=USR2", jobs.ids["signal"])
    jobs.wait_for_epoch("kill", 8)
    jobs.kill_training("kill")
    jobs.wait(lambda: len(jobs.record("signal").attempts()) == 2, "the requeued job")
    jobs.wait_for_epoch("kill", 15)
    jobs.finish("signal", "scancel --signal=USR2")
    jobs.finish("kill", "kill -9 of the training")
    jobs = ToyJobs(cluster, ["preempted"], epochs=40, minutes=60)
    jobs.wait_for_epoch("preempted", 8)
    cluster.command("sbatch", "-p", "urgent", f"--cpus-per-task={cluster.cpus}", "-o", "/dev/null", "--wrap", "sleep 5")
    jobs.wait(lambda: len(jobs.record("preempted").attempts()) > 1, "the requeued job")
    jobs.finish("preempted", "preemption by a job of a partition with a higher priority")


def time_limit(cluster: SlurmCluster) -> None:
    """SLURM's own time limit of three minutes, in a training of four."""
    jobs = ToyJobs(cluster, ["limit"], epochs=120, minutes=3, seconds=2.0)
    jobs.finish("limit", "time limit of 3 minutes")


def killed_slurmd(cluster: SlurmCluster) -> None:
    """`kill -9` of slurmd, which comes back after three seconds, while a training runs."""
    jobs = ToyJobs(cluster, ["slurmd"], epochs=40, minutes=60)
    jobs.wait_for_epoch("slurmd", 10)
    cluster.kill("slurmd")
    time.sleep(3)
    cluster.spawn("slurmd", "-D")
    jobs.wait_for_epoch("slurmd", 15)
    jobs.kill_training("slurmd")  # so that it resumes once
    jobs.finish("slurmd", "kill -9 of slurmd, then of the training")


def random_kills(cluster: SlurmCluster) -> None:
    """Ten `kill -9` at random moments, of the training or of its job's process; then what failed is submitted again."""
    jobs = ToyJobs(cluster, ["kills"], epochs=80, minutes=60)
    generator = random.Random(2)
    targets = []
    for number in range(KILLS):
        jobs.wait_for_epoch("kills", (number + 1) * 7)
        time.sleep(generator.uniform(0, 1.0))
        targets.append(generator.choice(["training", "job"]))
        if targets[-1] == "training":
            jobs.kill_training("kills")
            continue
        with suppress(ProcessLookupError):
            os.kill(jobs.record("kills").attempts()[-1].process, signal.SIGKILL)
        jobs.wait(lambda: not jobs.queue(), "the killed job to leave the queue")
        jobs.submit(["kills"])
    lost = jobs.finish("kills", f"{KILLS} kills: {', '.join(targets)}")
    assert len(lost) == KILLS


TOY_SCENARIOS: dict[str, Callable[[SlurmCluster], None]] = {
    "toy-stops": stops_and_kills,
    "toy-time-limit": time_limit,
    "toy-slurmd": killed_slurmd,
    "toy-random-kills": random_kills,
}
