"""Commands that end as a whole, with all processes that they started, when the process that runs them ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

GRACE = 5
"""Seconds that a command has to end after SIGTERM."""

WATCHER = ["sh", "-c", 'read -r _; kill -s KILL -- "-$1"', "sh"]
"""Waits for the end of its input, which comes when this process ends, even by SIGKILL; then kills a group."""


@contextmanager
def running_group(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Run a command in a process group of its own, for the block; wait in it for the command's end.

    The group ends if the block raises an exception, and (not on Windows) if this process is killed.

    Args:
        command: as for `subprocess.Popen`.
        options: of `subprocess.Popen`.
    """
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        watcher = None
        try:
            if hasattr(os, "killpg"):
                watch = [*WATCHER, str(process.pid)]
                watcher = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)
            yield process
        except BaseException:
            end_group(process)
            raise
        finally:
            if watcher is not None:
                watcher.kill()
                watcher.communicate()


def end_group(process: subprocess.Popen[Any]) -> None:
    """End a process that leads a group, and the group: SIGTERM, and SIGKILL for what is left after `GRACE` seconds."""
    if not hasattr(os, "killpg"):  # Windows
        process.terminate()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        os.killpg(process.pid, signal.SIGKILL)
