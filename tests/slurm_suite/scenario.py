"""What the scenarios share: the command as a user gives it, and what the disk says afterwards."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ser_nnunet.cluster.task_record import Attempt, TaskRecord
from ser_nnunet.cluster.training_files import CHECKPOINTS, TrainingFiles, is_whole
from ser_nnunet.cluster.training_log import Progress, read_progress
from tests.slurm_suite.place import DATASET, SlurmWorkplace

SECONDS = 3000
SMALL = ("-device", "cpu", "--cpus-per-job", "1", "--memory", "1")


class Scenario:
    """A cross-validation with results of its own.

    Args:
        place: with the planned data set.
        name: of the scenario, and of its folder of results.
        environment: SLURM's.
    """

    def __init__(self, place: SlurmWorkplace, name: str, environment: dict[str, str]) -> None:
        self.results = place.folder / f"results_{name}" / DATASET
        self.environment = {**os.environ, **place.environment, **environment}
        self.environment["nnUNet_results"] = str(self.results.parent)
        for variable in ("nnUNet_n_proc_DA", "nnUNet_def_n_proc"):  # the job's
            self.environment.pop(variable)
        self.results.parent.mkdir(exist_ok=True)

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "ser_nnunet.cli", "crossval", "-d", "4", *map(str, arguments)]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(words, env=self.environment, **streams)

    def command(self, *arguments: object, status: int | None = 0) -> str:
        """Run the command, show it and what it prints, and return that; `status` is what it must end with."""
        begin = time.monotonic()
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=SECONDS)
        print(f"$ ser-nnunet crossval -d 4 {shlex.join(map(str, arguments))}\n{self.shorten(output)}", flush=True)
        print(f"[{time.monotonic() - begin:.1f} s, exit status {process.returncode}]\n", flush=True)
        assert status is None or process.returncode == status, f"exit status {process.returncode} instead of {status}"
        return output

    def shorten(self, text: str) -> str:
        return text.replace(str(self.results.parent), "$nnUNet_results").replace(sys.executable, "python").rstrip()

    def files(self, key: str) -> TrainingFiles:
        return TrainingFiles(self.results / key)

    def progress(self, key: str) -> Progress:
        return read_progress(self.results / key)

    def attempts(self, key: str) -> list[Attempt]:
        return TaskRecord(self.results / "crossval" / "tasks" / key).attempts()

    def wait(self, condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what}: still not after {seconds} s"
            time.sleep(0.5)

    def wait_for_epoch(self, key: str, epoch: int) -> None:
        self.wait(lambda: self.progress(key).finished >= epoch, f"epoch {epoch} of {key}")

    def wait_done(self, key: str) -> None:
        self.wait(self.files(key).is_done, f"the end of {key}")

    def child_of(self, key: str) -> int:
        """Return the process id of the training that the last attempt has started."""
        log = (self.results / "crossval" / "tasks" / key / "output.log").read_text(errors="replace")
        return int(re.findall(rf"=== .*{re.escape(key)}, process (\d+)", log)[-1])

    def check_whole(self, key: str) -> None:
        """Every checkpoint can be loaded, and the learning curve has every epoch once."""
        folder = self.results / key
        for name in CHECKPOINTS:
            if (folder / name).is_file():
                assert is_whole(folder / name), f"{folder / name} is damaged"
                torch.load(folder / name, weights_only=False)
        progress = self.progress(key)
        assert progress.planned is not None and sorted(progress.epochs) == list(range(progress.planned)), key
        logged = torch.load(folder / CHECKPOINTS[0], weights_only=False)["logging"]["train_losses"]
        assert len(logged) == progress.planned, f"{key}: the checkpoint's log has {len(logged)} epochs"


def lost_epochs(folder: Path) -> list[int]:
    """Return for every resumption of a training how many finished epochs were trained again."""
    lost, before = [], 0
    logs = sorted(
        folder.glob("training_log_*.txt"), key=lambda log: [int(part) for part in re.findall(r"\d+", log.stem)]
    )
    for log in logs:
        text = log.read_text(errors="replace")
        starts = [int(number) for number in re.findall(r": Epoch (\d+) *$", text, re.MULTILINE)]
        if starts:
            lost.append(before - starts[0])
            before = starts[0] + len(re.findall(r": Epoch time: ", text))
    return lost[1:]
