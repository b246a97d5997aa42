"""nnU-Net's folders in a temporary place, and its commands in child processes, as a user calls them."""

import os
import signal
import subprocess
import sys
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
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait starve a busy machine
        }

    def start(self, name: str, *arguments: object, **environment: str) -> subprocess.Popen:
        """Start a command that is installed beside this Python."""
        return subprocess.Popen(
            [str(Path(sys.executable).parent / name), *map(str, arguments)],
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, name: str, *arguments: object, **environment: str) -> str:
        """Run a command to its end; return what it printed; fail with it if it failed."""
        process = self.start(name, *arguments, **environment)
        output = process.communicate()[0]
        if process.returncode:
            raise CommandError(f"{name} ended with {process.returncode}\n{output}")
        return output

    def kill_in_epoch(self, epoch: int, name: str, *arguments: object) -> None:
        """Start a training by a trainer that is `Interruptible`, and kill it in an epoch as `kill -9` does."""
        with self.start(name, *arguments, **{WAIT_VARIABLE: str(epoch)}) as process:
            printed = []
            for line in process.stdout:
                printed.append(line)
                if "WAITING" in line:
                    break
            else:
                raise CommandError(f"{name} ended before epoch {epoch}\n{''.join(printed)}")
            process.send_signal(signal.SIGKILL)

    def dataset(self, parent: str, number: int) -> Path:
        """Return the folder of a data set in `raw`, `preprocessed` or `results`."""
        return next((self.folder / parent).glob(f"Dataset{number:03d}_*"))

    def model(self, number: int, trainer: str, configuration: str = "2d") -> Path:
        """Return the folder of a trained model."""
        return self.dataset("results", number) / f"{trainer}__nnUNetPlans__{configuration}"


def trained_epochs(output: str) -> list[int]:
    """Return the numbers of the epochs that a training printed."""
    return [int(line.split()[-1]) for line in output.splitlines() if " Epoch " in line and "time" not in line]
