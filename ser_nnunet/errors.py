"""Errors that a user can fix, reported as sentences instead of tracebacks."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can fix: the command line shows the message alone and ends with exit status 2.

    The message names the file or case, what was expected, what was found, and what to do. All problems at once.
    """
