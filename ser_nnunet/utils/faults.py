"""Faults of files, libraries and of this package as one sentence for a user, and the command's exit status."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path

from ser_nnunet.errors import UserError
from ser_nnunet.utils.printable import printable

USER_FAULT = 2
"""Exit status where the user has something to fix, as argparse's own."""

UNEXPECTED = 70
"""Exit status of a fault in this package (EX_SOFTWARE of sysexits.h)."""

INTERRUPTED = 130
"""Exit status after Ctrl-C or SIGTERM, as of a shell's."""

READER_CLOSED = 141
"""Exit status after the reader of the output has gone, as `head` does: 128 + SIGPIPE."""

HINTS = {
    errno.ENOSPC: "the disk is full: free some space, or write elsewhere; an earlier result is unchanged",
    errno.EDQUOT: "your quota is used up: free some space, or write elsewhere; an earlier result is unchanged",
    errno.EROFS: "the file system is read-only: write elsewhere",
}


def end_with(error: BaseException, command: str, debug: bool) -> int:
    """Print what ended a command, with its name, to standard error; return the exit status.

    Args:
        error: the exception that is being handled.
        command: its name for the message.
        debug: whether to print the traceback, too.
    """
    message, status = describe_fault(error)
    if debug:
        traceback.print_exc()
    if isinstance(error, BrokenPipeError):  # nothing more can be written, not at the interpreter's end either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        print(f"{command}: {printable(message)}", file=sys.stderr)
    return status


def describe_fault(error: BaseException) -> tuple[str, int]:
    """Return a sentence about an exception that ended a command, and the exit status."""
    if isinstance(error, UserError):
        return str(error), USER_FAULT
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return "", READER_CLOSED
    if isinstance(error, OSError):
        file = f"{error.filename}: " if error.filename else ""
        return f"{file}{HINTS.get(error.errno or 0, error.strerror or str(error))}", USER_FAULT
    if isinstance(error, MemoryError):
        return "memory ran out: use fewer processes (-np 1), or a machine with more memory", USER_FAULT
    if isinstance(error, UnicodeError):
        return f"a file or a name is no text in UTF-8 ({error})", USER_FAULT
    if isinstance(error, RecursionError):
        return "a file is nested too deeply to be read", USER_FAULT
    return describe_unexpected(error), UNEXPECTED


def describe_unexpected(error: BaseException) -> str:
    """Return one line: what happened, where, and what to report."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    reason = (str(error).strip().splitlines() or [""])[0][:300]
    return (
        f"unexpected {type(error).__name__}{where}: {reason}. This is a fault of ser-nnunet: please open an issue with "
        "the command and what it prints with --debug (or SER_DEBUG=1)"
    )
