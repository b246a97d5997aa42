"""SIGTERM and a closed terminal as Ctrl-C: what a command has begun is cleaned up, and its processes end with it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]

_handled: set[int] = set()
"""Signals that `handle_in_this_process` handles."""


def handle_in_this_process(number: int, handler: Handler) -> None:
    """Handle a signal in this process, and not in those that are forked from it: there it has its default effect.

    A pool of processes (`multiprocessing`, which nnU-Net uses) ends its workers by SIGTERM and waits for them. A
    handler in Python runs between two instructions: a worker that has just begun to wait for work would never run it.
    """
    signal.signal(number, handler)
    _handled.add(number)


def _leave_to_default() -> None:
    for number in _handled:
        signal.signal(number, signal.SIG_DFL)
    _handled.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which doesn't fork
    os.register_at_fork(after_in_child=_leave_to_default)


@contextmanager
def interrupt_on_termination() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP (a closed terminal) as Ctrl-C within the block, so that files are cleaned up.

    A signal that is ignored stays ignored: `nohup` does that to SIGHUP. Windows has no SIGHUP. Outside the main thread,
    which alone receives signals, nothing changes.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    changed = [number for number in numbers if before[number] != signal.SIG_IGN]
    for number in changed:
        handle_in_this_process(number, interrupt)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, before[number])
            _handled.discard(number)
