"""Running the demo's commands: shown, watched, logged, and named when they fail."""

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

TAIL = 15
"""Lines of a failed command's output that the message repeats."""


@dataclass
class Steps:
    """The numbered steps of the demo: each is announced, timed and logged.

    `logs` is the folder of the logs, `total` how many steps there are, and `times` fills with (title, seconds).
    """

    logs: Path
    total: int
    times: list[tuple[str, float]] = field(default_factory=list)

    def call(self, title: str, work: Callable[[], object]) -> None:
        """Announce a step and do it in this process."""
        start = self._announce(title)
        work()
        self.times.append((title, time.monotonic() - start))

    def command(self, title: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Announce a step, show its command and run it; its output appears as it comes and goes to a log as well.

        Raises:
            UserError: the command failed; says which step, where the log is, and the log's last lines.
        """
        start = self._announce(title)
        print(f"$ {shlex.join(command)}", flush=True)
        log = self.logs / f"{len(self.times) + 1:02d}_{Path(command[0]).name}.txt"
        status = stream(command, environment, log)
        if status:
            raise UserError(_failure(title, command, status, log))
        self.times.append((title, time.monotonic() - start))

    def _announce(self, title: str) -> float:
        print(f"\n=== {len(self.times) + 1} of {self.total}: {title}", flush=True)
        return time.monotonic()


def stream(command: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
    """Run a command, copy its output to the screen and to `log` as it comes, and return its exit status.

    Args:
        command: its name, looked for among the scripts of this Python first, and its arguments.
        environment: variables over those of this process.
        log: a file, written anew.
    """
    variables = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [executable(command[0]), *command[1:]], env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        assert process.stdout is not None
        try:
            # As it comes rather than line by line: progress bars end in carriage returns.
            while chunk := os.read(process.stdout.fileno(), 4096):
                file.write(chunk)
                sys.stdout.write(chunk.decode(errors="replace"))
                sys.stdout.flush()
        except BaseException:
            process.terminate()
            raise
        return process.wait()


def executable(name: str) -> str:
    """Return the path of a command that was installed beside this Python, else of the first on PATH."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    if found is None:
        raise UserError(f"The command {name} was not found beside {sys.executable} or on PATH; is nnunetv2 installed?")
    return found


def _failure(title: str, command: Sequence[str], status: int, log: Path) -> str:
    text = log.read_text(errors="replace").replace("\r", "\n")
    tail = [line for line in text.splitlines() if line.strip()][-TAIL:]
    return (
        f'the step "{title}" failed: {command[0]} ended with status {status}. '
        f"Its whole output is in {log}; the last lines:\n" + "\n".join(f"    {line}" for line in tail)
    )
