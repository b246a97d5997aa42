"""Label values: rounding to integers, counting, and mapping to the values to write."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ser_nnunet.dataset_conversion.core.data_classes import DatasetInfo

ROUNDING = 1e-3
"""Greatest distance to an integer that is rounded; a label with greater ones is refused."""
FLOAT_DECIMALS = 6


class NonIntegerLabelError(Exception):
    """A label that holds NaN, Inf or numbers that are no integers; the message states how many."""


def round_to_integers(array: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the label as integers (as uint8 if they fit), and the greatest rounding; `NonIntegerLabelError`."""
    rounding = 0.0
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array.sum(dtype=np.float64)):
            raise NonIntegerLabelError(f"{int((~np.isfinite(array)).sum())} voxels are NaN or Inf")
        rounded = np.rint(array)
        off = np.abs(array - rounded)
        rounding = float(off.max(initial=0))
        if rounding > ROUNDING:
            example = round(float(array.flat[int(off.argmax())]), FLOAT_DECIMALS)
            raise NonIntegerLabelError(f"{int((off > ROUNDING).sum())} voxels are no integers, such as {example}")
        array = rounded
    fits_uint8 = array.min(initial=0) >= 0 and array.max(initial=0) <= 255
    return array.astype(np.uint8) if fits_uint8 else array, rounding


def count_values(array: np.ndarray) -> dict[int, int]:
    """Return value -> voxels. Slice by slice for uint8, which is several times faster than sorting."""
    if array.dtype == np.uint8:
        counts = sum(np.bincount(part.ravel(), minlength=256) for part in array)
        return {value: int(count) for value, count in enumerate(np.asarray(counts).tolist()) if count}
    values, found = np.unique(array, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, found, strict=True)}


def map_values(values: Mapping[int, int], info: DatasetInfo) -> dict[int, int | None]:
    """Return value in the source -> value to write, None for a value that the data set doesn't declare."""
    if info.positive_is_foreground:
        return {value: 1 if value > 0 else info.values.get(value) for value in values}
    return {value: info.values.get(value) for value in values}


def replace_values(array: np.ndarray, mapping: Mapping[int, int | None]) -> np.ndarray:
    """Return the label as uint8 (uint16 above 255) with every value replaced; `mapping` holds all of them."""
    written = np.zeros(array.shape, np.uint16 if max(new or 0 for new in mapping.values()) > 255 else np.uint8)
    for value, new in mapping.items():
        if new:
            written[array == value] = new
    return written
