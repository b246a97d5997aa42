"""The names of SER's environment variables, and setting environment variables within a block."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ser_nnunet.errors import UserError

SAM_CHECKPOINT = "SER_SAM_CHECKPOINT"
"""Path of SAM's checkpoint, for trainers with SAM guidance."""

HARDNET_CHECKPOINT = "SER_HARDNET_CHECKPOINT"
"""Path of ImageNet weights for HarDNet-85, for `SERTrainerPaper`; optional."""

TEACHER = "SER_TEACHER"
"""A trained model's folder in nnU-Net's results, the teacher of `SERTrainerDistill`."""

QUIET = "SER_QUIET"
"""Set by `--quiet`: no progress bars, in child processes neither."""


def is_quiet() -> bool:
    """Return whether progress bars are unwanted."""
    return os.environ.get(QUIET, "0") not in ("", "0")


CHECKPOINT_SECONDS = "SER_CHECKPOINT_SECONDS"
"""SER's trainers also save a checkpoint at the end of an epoch when the last one is older; `crossval` sets it."""


def read_seconds(variable: str) -> float:
    """Return a number of seconds, or infinity where the variable isn't set.

    Raises:
        UserError: it holds something else.
    """
    text = os.environ.get(variable, "")
    try:
        seconds = float(text or "inf")
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UserError(f"{variable}: a number of seconds expected, {text!r} found")
    return seconds


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables within the block and restore them afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
