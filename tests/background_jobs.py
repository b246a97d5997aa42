"""Processes that tests send signals to."""

import signal


def stop_ignoring_interrupts() -> None:
    """Undo what a shell sets for background jobs, whose children would ignore SIGINT (for `preexec_fn`)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
