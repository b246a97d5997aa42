"""What is kept on disk about a task: every attempt to run it, its output, and what was submitted."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ser_nnunet.utils.files import read_json, write_json
from ser_nnunet.utils.locks import ExclusiveLock
from ser_nnunet.utils.processes import is_running

DONE, FAILED, KILLED, STOPPED = "done", "failed", "killed", "stopped"
"""How an attempt ends. Stopped: by a time limit, a preemption or the user. Killed: by a signal, or without a word."""

TAIL = 5
"""Lines of a failed task's output that are shown."""

LARGEST_TAIL = 20_000  # bytes


@dataclass(frozen=True)
class Attempt:
    """One run of a task; times in seconds since 1970.

    Attributes:
        process: id of the process that supervises the run, on `host`.
        job: SLURM's id of the job; "" for none.
        outcome: one of those above; "" while it runs, and after a sudden end of the supervising process.
        reason: a few words on the outcome.
        progressed: whether it wrote a checkpoint.
    """

    started: float
    host: str
    process: int
    job: str = ""
    ended: float | None = None
    outcome: str = ""
    reason: str = ""
    progressed: bool = False


@dataclass(frozen=True)
class Submission:
    """A task was handed to an engine; `job` is SLURM's id. `cancelled` is set by `--cancel`."""

    engine: str
    date: float
    job: str = ""
    cancelled: bool = False


class TaskRecord:
    """The folder of a task: attempts.json and output.log by who runs it, submitted.json by who submits it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "output.log"
        self.lock = folder / ".running.lock"

    def attempts(self) -> list[Attempt]:
        """Return all attempts, the oldest first."""
        return [Attempt(**entry) for entry in _read_list(self.folder / "attempts.json")]

    def submission(self) -> Submission | None:
        """Return the last submission."""
        found = _read_list(self.folder / "submitted.json")
        return Submission(**found[-1]) if found else None

    def begin_attempt(self, job: str) -> None:
        """Note that a run begins; an earlier one that never ended was killed."""
        earlier = [each if each.outcome else replace(each, outcome=KILLED) for each in self.attempts()]
        now = datetime.now().timestamp()
        self._write("attempts.json", [*earlier, Attempt(now, socket.gethostname(), os.getpid(), job)])

    def is_alive(self, attempt: Attempt) -> bool:
        """Return whether an attempt still runs: it has no outcome, and a process holds the task's lock.

        The id alone may belong to another process by now, and an attempt on another machine may have ended without a
        word, with that machine. Where locks can't be tried, another machine's attempt counts as alive, unless it was a
        job of SLURM's, of which the queue knows.
        """
        if attempt.outcome:
            return False
        held = ExclusiveLock(self.lock, "").is_held()
        if held is not None:
            return held
        return not attempt.job and (attempt.host != socket.gethostname() or is_running(attempt.process))

    def end_attempt(self, outcome: str, reason: str, progressed: bool) -> None:
        """Note how the last run ended; nothing where the record has been removed meanwhile."""
        attempts = self.attempts()
        if not attempts:
            return
        *earlier, last = attempts
        now = datetime.now().timestamp()
        last = replace(last, ended=now, outcome=outcome, reason=reason, progressed=progressed)
        self._write("attempts.json", [*earlier, last])

    def submit(self, submission: Submission) -> None:
        """Note that the task was handed to an engine."""
        self._write("submitted.json", [submission])

    def tail(self) -> list[str]:
        """Return the last lines of the output that aren't empty."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - LARGEST_TAIL))
                text = stream.read().decode("utf-8", errors="replace")
        except OSError:
            return []
        return [line.rstrip() for line in text.replace("\r", "\n").splitlines() if line.strip()][-TAIL:]

    def _write(self, name: str, entries: list[Any]) -> None:
        write_json(self.folder / name, TypeAdapter(list[Any]).dump_python(entries, mode="json"))


def _read_list(file: Path) -> list[dict[str, Any]]:
    try:
        return list(read_json(file))
    except (OSError, ValueError, TypeError):
        return []
