"""A child process in a group of its own, which can be watched and ended from within a signal handler, too."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

GRACE = 15.0
"""Seconds that a child has to end its own processes after SIGTERM."""

POLL = 0.05


class ChildProcess:
    """A started command. `subprocess.Popen.wait` holds a lock, for which a signal handler would wait for ever."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start a command whose output is added to `log`; `OSError` where that can't be done."""
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.id = self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal's number; None while it runs."""
        if self._process.returncode is None:
            try:
                found, status = os.waitpid(self.id, os.WNOHANG)
            except ChildProcessError:  # the code that a signal handler interrupted has just waited for it
                self._process.returncode = self._process.returncode or -signal.SIGTERM
            else:
                if found:
                    self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._process.returncode

    def end(self, grace: float = GRACE) -> None:
        """End the command and all of its group: SIGTERM, and SIGKILL for what is left after `grace` seconds."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.id, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL)
        self.kill_group()
        while self.poll() is None:
            time.sleep(POLL)

    def kill_group(self) -> None:
        """Kill what is left of the group, such as workers of a command that has ended."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.id, signal.SIGKILL)


def end_with_parent() -> None:
    """End this process and its group soon after the supervising process is gone, however it ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(0, signal.SIGKILL)

    Thread(target=watch, daemon=True).start()
