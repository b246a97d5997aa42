"""nnU-Net's folders in a temporary place, and its commands in child processes, as a user calls them."""

import os
import shlex
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import torch

from ser_nnunet.nnunet.trainers import trainers_folder
from ser_nnunet.sam.dummy_sam import build_dummy_sam

WAIT_VARIABLE = "SER_TEST_WAIT"

INTERRUPTIBLE = f'''
import os
import time

class Interruptible:
    """Waits in the epoch that {WAIT_VARIABLE} names, so that a test can kill it there; saves every epoch."""
    save_every = 1

    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        if os.environ.get("{WAIT_VARIABLE}") == str(self.current_epoch):
            print("WAITING", flush=True)
            time.sleep(600)
'''
"""Source of a mixin for trainers in a folder of their own, which can't import this module."""


class CommandError(AssertionError):
    """A command that failed, with all that it printed."""


class Workplace:
    """nnU-Net's folders below `folder`, a dummy SAM, and trainers of the tests.

    Args:
        folder: made if it doesn't exist.
        trainers: Python source of trainers, found by nnU-Net beside those of this package.
    """

    def __init__(self, folder: Path, trainers: str) -> None:
        self.folder = folder
        self.numbers = count(1)
        (folder / "trainers").mkdir(parents=True, exist_ok=True)
        (folder / "trainers" / "tiny.py").write_text(trainers)
        torch.save(build_dummy_sam(image_size=64).state_dict(), folder / "dummy_sam.pth")
        self.environment = os.environ | {
            "nnUNet_raw": str(folder / "raw"),
            "nnUNet_preprocessed": str(folder / "preprocessed"),
            "nnUNet_results": str(folder / "results"),
            "nnUNet_extTrainer": os.pathsep.join([str(folder / "trainers"), str(trainers_folder())]),
            "SER_SAM_CHECKPOINT": str(folder / "dummy_sam.pth"),
            "nnUNet_def_n_proc": "1",
            "nnUNet_n_proc_DA": "0",
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait starve a busy machine
        }

    def start(self, log: Path, name: str, *arguments: object, **environment: str) -> subprocess.Popen:
        """Start a command that is installed beside this Python; what it prints goes to `log`."""
        with log.open("wb") as file:
            return subprocess.Popen(
                [str(Path(sys.executable).parent / name), *map(str, arguments)],
                env=self.environment | environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def run(self, name: str, *arguments: object, **environment: str) -> str:
        """Run a command to its end; return what it printed; fail with it if it failed."""
        log = self.next_log()
        status = self.start(log, name, *arguments, **environment).wait()
        output = log.read_text(errors="replace")
        if status:
            raise CommandError(f"{shlex.join(map(str, (name, *arguments)))} ended with {status}\n{output}")
        return output

    def kill_in_epoch(self, epoch: int, name: str, *arguments: object) -> None:
        """Start a training by a trainer that is `Interruptible`, and kill it in an epoch as `kill -9` does."""
        log = self.next_log()
        process = self.start(log, name, *arguments, **{WAIT_VARIABLE: str(epoch)})
        while "WAITING" not in log.read_text(errors="replace"):
            if process.poll() is not None:
                raise CommandError(f"{name} ended before epoch {epoch}\n{log.read_text(errors='replace')}")
            time.sleep(0.05)
        process.kill()
        process.wait()

    def next_log(self) -> Path:
        """Return a new file for what a command prints."""
        (self.folder / "logs").mkdir(exist_ok=True)
        return self.folder / "logs" / f"{next(self.numbers):03d}.txt"

    def dataset(self, parent: str, number: int) -> Path:
        """Return the folder of a data set in `raw`, `preprocessed` or `results`, whether nnU-Net has made it or not."""
        (raw,) = (self.folder / "raw").glob(f"Dataset{number:03d}_*")
        return self.folder / parent / raw.name

    def model(self, number: int, trainer: str, configuration: str = "2d") -> Path:
        """Return the folder of a trained model."""
        return self.dataset("results", number) / f"{trainer}__nnUNetPlans__{configuration}"


def trained_epochs(output: str) -> list[int]:
    """Return the numbers of the epochs that a training printed."""
    return [int(line.split()[-1]) for line in output.splitlines() if " Epoch " in line and "time" not in line]
