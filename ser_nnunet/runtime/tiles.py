"""nnU-Net's sliding window: where its tiles lie, and the Gaussian that weights them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

SIGMA = 1 / 8  # of the Gaussian, in tile edges; nnU-Net's, as the next one
HIGHEST_WEIGHT = 10.0
TRUNCATED = 4.0  # deviations, by scipy's `gaussian_filter`, which nnU-Net calls


def tile_starts(size: int, tile: int, step: float) -> list[int]:
    """Return where tiles begin along an axis: at most `step` tiles apart, the last one at the image's end."""
    count = math.ceil((size - tile) / (tile * step)) + 1
    apart = (size - tile) / (count - 1) if count > 1 else 0.0
    return [int(np.round(apart * index)) for index in range(count)]


def tile_slices(shape: Sequence[int], tile: Sequence[int], step: float) -> list[tuple[slice, ...]]:
    """Return the tiles of an image that is at least as large as a tile, in nnU-Net's order."""
    starts = [tile_starts(size, edge, step) for size, edge in zip(shape, tile, strict=True)]
    return [
        tuple(slice(start, start + edge) for start, edge in zip(corner, tile, strict=True))
        for corner in itertools.product(*starts)
    ]


@lru_cache(maxsize=2)
def gaussian_weights(tile: tuple[int, ...]) -> np.ndarray:
    """Return the weights of a tile's voxels, float32.

    They have float16's precision, as in nnU-Net's `compute_gaussian`, with whose masks these agree; weights that
    float16 rounds to 0 take the smallest other one.
    """
    weights = np.ones((1,) * len(tile))
    for axis, edge in enumerate(tile):  # separable: a Gaussian per axis instead of a filtered volume
        distance, deviation = np.arange(edge) - edge // 2, edge * SIGMA
        line = np.exp(-0.5 / deviation**2 * distance**2)
        line[abs(distance) > int(TRUNCATED * deviation + 0.5)] = 0
        weights = weights * line.reshape([-1 if other == axis else 1 for other in range(len(tile))])
    weights *= HIGHEST_WEIGHT / weights.max()
    rounded = weights.astype(np.float16)
    rounded[rounded == 0] = rounded[rounded != 0].min()
    return rounded.astype(np.float32)


def padding(shape: Sequence[int], tile: Sequence[int]) -> list[tuple[int, int]]:
    """Return the zeros before and after each axis that make an image at least as large as a tile, centred as nnU-Net
    does it (an odd one more behind)."""
    missing = [max(edge - size, 0) for size, edge in zip(shape, tile, strict=True)]
    return [(each // 2, each - each // 2) for each in missing]
