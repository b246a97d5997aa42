"""Numbers on the command line, each with its limits."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TypeVar

Number = TypeVar("Number", int, float)


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


def by_name(read: Callable[[str], Number]) -> Callable[[str], tuple[str, Number]]:
    """Return an argparse type: VALUE, with the name "", or NAME=VALUE; `read` may raise `ValueError`, too."""

    def read_pair(text: str) -> tuple[str, Number]:
        name, _, value = text.rpartition("=")
        try:
            return name, read(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read_pair


processes = whole(1, 512)
"""Processes at once: more than a machine's cores are of no use."""

seed = whole(0, 2**31 - 1)

threads = whole(1, 1024)
"""CPU threads of one process."""

steps = whole(1, 10_000_000)
"""Of a training, epochs and iterations: more would take weeks on the fastest GPU."""

fold = whole(0, 999)

batch_size = whole(1, 4096)

tile_step = decimal(0.01, 1)
"""Distance of tiles, in tiles: below a hundredth, one image would take days."""

memory_gb = decimal(0.1, 100_000)
"""Of a job's machine: SLURM counts in megabytes, and the largest machines have some ten thousand GB."""
