"""A progress bar of one line, with the time left."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

WIDTH = 30  # characters of the bar
SECONDS = 0.2  # between two updates


class Progress:
    """Shows which case of how many is computed, and how far all of them are.

    On a terminal, one line is written over and over; elsewhere (a log), nothing but `note`s.

    Args:
        total: cases.
        stream: standard error by default.
    """

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self.total, self.done = total, 0
        self.stream = stream or sys.stderr
        self.started = self._shown = time.monotonic()

    def update(self, name: str, part: float) -> None:
        """Show that a part (0 to 1) of the present case is done."""
        now = time.monotonic()
        is_quiet = os.environ.get("SER_QUIET", "0") not in ("", "0")  # not utils.variables, which no model file holds
        if is_quiet or not self.stream.isatty() or (now - self._shown < SECONDS and part < 1):
            return
        self._shown = now
        finished = (self.done + part) / self.total
        left = (now - self.started) * (1 - finished) / max(finished, 1e-6)
        bar = "#" * round(WIDTH * finished)
        line = f"{bar:.<{WIDTH}} {finished:4.0%}  {left / 60:.0f}:{left % 60:02.0f} left  {name}"
        self.stream.write(f"\r{line[:100]:<100}")
        self.stream.flush()

    def note(self, line: str) -> None:
        """Print a line that stays."""
        if self.stream.isatty():
            self.stream.write(f"\r{'':<100}\r")
        print(line, file=self.stream, flush=True)
