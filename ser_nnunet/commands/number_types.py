"""Numbers on the command line, each with its limits."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return an argparse type: a whole number from `low` to `high`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text[:40]} is not within {low} to {high}")
        return value

    return read


def decimal(low: float, high: float) -> Callable[[str], float]:
    """Return an argparse type: a finite number from `low` to `high`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number") from None
        if not math.isfinite(value) or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text[:40]} is not within {low:g} to {high:g}")
        return value

    return read


processes = whole(1, 512)
"""Processes at once: more than a machine's cores are of no use."""

seed = whole(0, 2**31 - 1)
