"""The numbers in a label: are they whole, which are there, and what is written for each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ser_nnunet.dataset_conversion.core.data_classes import Description

ROUNDING = 1e-3
"""A label this close to a whole number is rounded; beyond, it is no label."""
FLOAT_DECIMALS = 6


class NotWholeError(Exception):
    """A label that holds NaN, Inf or numbers that are not whole; the message says how many."""


def whole_numbers(array: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the label as whole numbers (as uint8 if they fit), and the greatest rounding; raises `NotWholeError`."""
    rounding = 0.0
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array.sum(dtype=np.float64)):
            raise NotWholeError(f"{int((~np.isfinite(array)).sum())} voxels are NaN or Inf")
        rounded = np.rint(array)
        off = np.abs(array - rounded)
        rounding = float(off.max(initial=0))
        if rounding > ROUNDING:
            example = round(float(array.flat[int(off.argmax())]), FLOAT_DECIMALS)
            raise NotWholeError(f"{int((off > ROUNDING).sum())} voxels are no whole numbers, such as {example}")
        array = rounded
    return array.astype(np.uint8) if _fits_uint8(array) else array, rounding


def count_values(array: np.ndarray) -> dict[int, int]:
    """Return value -> voxels. Slice by slice for uint8, which is several times faster than sorting."""
    if array.dtype == np.uint8:
        counts = sum(np.bincount(part.ravel(), minlength=256) for part in array)
        return {value: int(count) for value, count in enumerate(np.asarray(counts).tolist()) if count}
    values, found = np.unique(array, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, found, strict=True)}


def targets(counts: Mapping[int, int], description: Description) -> dict[int, int | None]:
    """Return value -> value to write, None for a value that nobody declared."""
    if description.positive_is_foreground:
        return {value: 1 if value > 0 else description.values.get(value) for value in counts}
    return {value: description.values.get(value) for value in counts}


def replaced(array: np.ndarray, target: Mapping[int, int | None]) -> np.ndarray:
    """Return the label as uint8 with every value replaced; `target` knows all of them."""
    written = np.zeros(array.shape, np.uint8)
    for value, new in target.items():
        if new:
            written[array == value] = new
    return written


def _fits_uint8(array: np.ndarray) -> bool:
    return bool(array.min(initial=0) >= 0 and array.max(initial=0) <= 255)
