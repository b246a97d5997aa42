"""nnU-Net's commands as forks of one process that has imported nnU-Net: the same entry points in half the CPU time."""

import multiprocessing
import os
import runpy
import sys
from importlib.metadata import entry_points
from pathlib import Path

from tests.nnunet_workplace import Workplace


class ForkedWorkplace(Workplace):
    """A workplace for a process of its own: nnU-Net reads its folders from the environment when it is imported."""

    def __init__(self, folder: Path, trainers: str) -> None:
        super().__init__(folder, trainers)
        os.environ.update(self.environment)
        from ser_nnunet.nnunet.trainers import find_trainer

        find_trainer("SERTrainerNoSAM")  # imports all that nnU-Net imports in search of a trainer

    def start(self, log: Path, name: str, *arguments: object, **environment: str) -> "ForkedCommand":
        """Fork a command; what it prints goes to `log`."""
        log.touch()
        process = multiprocessing.get_context("fork").Process(
            target=run_entry_point, args=(log, [name, *map(str, arguments)], environment)
        )
        process.start()
        return ForkedCommand(process)


class ForkedCommand:
    """The part of `subprocess.Popen` that `Workplace` uses."""

    def __init__(self, process: multiprocessing.Process) -> None:
        self.process = process
        self.kill = process.kill

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode


def run_entry_point(log: Path, command: list[str], environment: dict[str, str]) -> None:
    """Become a command (a script's name, or Python's path and `-m MODULE`) that prints to a file."""
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    if command[0] == sys.executable:
        sys.argv = command[2:]
        runpy.run_module(command[2], run_name="__main__", alter_sys=False)
    else:
        sys.argv = command
        (script,) = entry_points(group="console_scripts", name=command[0])
        script.load()()
