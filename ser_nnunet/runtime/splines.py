"""Interpolation by B-splines as one matrix per axis: the values of `scipy.ndimage.zoom`, without scipy's 145 MB.

Unser, Splines: a perfect fit for signal and image processing, IEEE Signal Processing Magazine 16 (6), 1999.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

MARGIN = 12
"""Voxels by which scipy repeats the edges before it computes a spline's coefficients (`mode="nearest"`)."""


def b_spline(distance: np.ndarray, order: int) -> np.ndarray:
    """Return the centred B-spline of an order at distances in voxels (its recursion, Unser's equation 1)."""
    if order == 0:
        return ((distance >= -0.5) & (distance < 0.5)).astype(np.float64)
    half = (order + 1) / 2
    right, left = b_spline(distance + 0.5, order - 1), b_spline(distance - 0.5, order - 1)
    result: np.ndarray = ((half + distance) * right + (half - distance) * left) / order
    return result


@lru_cache(maxsize=32)
def spline_matrix(old: int, new: int, order: int) -> np.ndarray:
    """Return `(new, old)`, float32: row i holds the weights of the old voxels in the new voxel i.

    Both grids cover the same extent; beyond the old one, the values of its edges are repeated.

    Args:
        old: voxels along an axis.
        new: voxels along it afterwards.
        order: of the spline: 0 takes the nearest voxel, 1 is linear interpolation, 3 cubic.
    """
    places = old / new * (np.arange(new) + 0.5) - 0.5
    if order < 2:  # voxels are the spline's coefficients
        return b_spline(places.clip(0, old - 1)[:, None] - np.arange(old), order).astype(np.float32)
    count = old + 2 * MARGIN
    samples = np.arange(count)
    reach = np.arange(-(order // 2), order // 2 + 1)
    neighbours = samples[:, None] + reach
    neighbours = np.where(neighbours < 0, -1 - neighbours, neighbours)  # mirrored at the ends of what was repeated
    neighbours = np.where(neighbours >= count, 2 * count - 1 - neighbours, neighbours)
    values = np.zeros((count, count))  # of the samples, from the coefficients
    np.add.at(values, (samples[:, None], neighbours), b_spline(reach, order))
    repeated = np.eye(old)[(samples - MARGIN).clip(0, old - 1)]
    weights = b_spline((places + MARGIN)[:, None] - samples, order)
    matrix = weights @ np.linalg.solve(values, repeated)
    return np.ascontiguousarray(matrix, dtype=np.float32)
