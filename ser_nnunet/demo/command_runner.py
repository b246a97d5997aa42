"""Running the demo's steps: each is announced, timed and logged, and named if it fails."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ser_nnunet.errors import UserError
from ser_nnunet.utils.process_groups import running_group

TAIL = 15
"""Number of lines of a failed command's output that the error message repeats."""


@dataclass
class StepRunner:
    """Runs numbered steps, in this process or as commands.

    Attributes:
        logs: folder of the logs, one per command.
        total: number of steps.
        times: (title, seconds) of every finished step.
    """

    logs: Path
    total: int
    times: list[tuple[str, float]] = field(default_factory=list)

    def run_function(self, title: str, function: Callable[[], object]) -> None:
        """Announce a step and run it in this process."""
        start = self._announce(title)
        function()
        self.times.append((title, time.monotonic() - start))

    def run_command(self, title: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Announce a step, show its command and run it; the output goes to the screen and to a log.

        Raises:
            UserError: the command failed; names the step, the log, and the log's last lines.
        """
        start = self._announce(title)
        print(f"$ {shlex.join(command)}", flush=True)
        log = self.logs / f"{len(self.times) + 1:02d}_{Path(command[0]).name}.txt"
        status = run_logged(command, environment, log)
        if status:
            lines = log.read_text(errors="replace").replace("\r", "\n").splitlines()
            tail = [line for line in lines if line.strip()][-TAIL:]
            raise UserError(
                f'the step "{title}" failed: {command[0]} ended with status {status}. '
                f"Its whole output is in {log}; the last lines:\n" + "\n".join(f"    {line}" for line in tail)
            )
        self.times.append((title, time.monotonic() - start))

    def _announce(self, title: str) -> float:
        print(f"\n=== {len(self.times) + 1} of {self.total}: {title}", flush=True)
        return time.monotonic()


def run_logged(command: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
    """Run a command, copy its output to the screen and to `log` while it runs, and return its exit status.

    If this process is interrupted or killed, the command ends with all processes that it has started.

    Args:
        command: its name, searched among the scripts of this Python first, and its arguments.
        environment: variables in addition to those of this process.
        log: a file, which is replaced.
    """
    variables = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
    with (
        log.open("wb") as file,
        running_group(
            [find_executable(command[0]), *command[1:]],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        assert process.stdout is not None
        # Not line by line: progress bars end in carriage returns.
        while chunk := os.read(process.stdout.fileno(), 4096):
            file.write(chunk)
            sys.stdout.write(chunk.decode(errors="replace"))
            sys.stdout.flush()
        return int(process.wait())


def find_executable(name: str) -> str:
    """Return the path of a command that is installed beside this Python, otherwise of the first on PATH.

    Raises:
        UserError: there is no such command.
    """
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    if found is None:
        raise UserError(f"The command {name} was not found beside {sys.executable} or on PATH; is nnunetv2 installed?")
    return found
