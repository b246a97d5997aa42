"""Logits of a whole image from its tiles: nnU-Net's sliding window with batches of tiles and one accumulator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ser_nnunet.runtime.engine import Network
from ser_nnunet.runtime.tiles import gaussian_weights, padding, tile_slices

BATCH_VOXELS = 1 << 18
"""Voxels of a batch: larger ones gain nothing on a CPU and need more memory (docs/deployment.md)."""
MOST_TILES = 16
"""Tiles of a batch: every batch is computed in full, so that large ones of small tiles cost small images time."""

Tile = tuple[slice, ...]  # of (z, y, x), or an index and two slices in 2D


def batch_size(patch: Sequence[int]) -> int:
    """Return the number of tiles that are computed at once."""
    return min(MOST_TILES, max(1, BATCH_VOXELS // int(np.prod(patch))))


def mirrorings(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Return every combination of axes, beginning with none: 4 for two axes, 8 for three."""
    return [each for count in range(len(axes) + 1) for each in itertools.combinations(axes, count)]


class SlidingWindow:
    """The tiles of one image, and the sum of what networks predict for them.

    Args:
        voxels: `(C, z, y, x)`, float32, preprocessed.
        patch: the tile's edges; two in 2D, where every slice has tiles of its own.
        heads: logits per voxel.
        step: distance of the tiles, in tiles, in (0, 1].
        mirror_axes: of the patch, along which every tile is also predicted mirrored; the mean counts.
    """

    def __init__(
        self, voxels: np.ndarray, patch: Sequence[int], heads: int, step: float, mirror_axes: Sequence[int] = ()
    ) -> None:
        self.patch, self.flips = tuple(patch), mirrorings(mirror_axes)
        depth = 3 - len(self.patch)  # leading axes that tiles have one voxel of
        margins = [(0, 0)] * depth + padding(voxels.shape[1 + depth :], self.patch)
        self.inner = tuple(
            slice(before, before + size) for (before, _), size in zip(margins, voxels.shape[1:], strict=True)
        )
        self.voxels = np.pad(voxels, [(0, 0), *margins]) if any(map(any, margins)) else voxels
        self.in_plane = tile_slices(self.voxels.shape[1 + depth :], self.patch, step)
        planes = [(slice(index, index + 1),) for index in range(self.voxels.shape[1])] if depth else [()]
        self.tiles: list[Tile] = [(*plane, *tile) for plane in planes for tile in self.in_plane]
        self.weights = gaussian_weights(self.patch) if len(self.in_plane) > 1 else np.ones(self.patch, np.float32)
        self.sum = np.zeros((heads, *self.voxels.shape[1:]), np.float32)
        self.networks = 0

    def add(self, network: Network, progress: Callable[[int], None] = lambda count: None) -> None:
        """Add the weighted logits that a network (one of an ensemble) predicts for every tile.

        Args:
            network: takes batches of `batch_size(patch)` tiles.
            progress: called with the number of tiles that are done since the last call.
        """
        size = batch_size(self.patch)
        batch = np.zeros((size, len(self.voxels), *self.patch), np.float32)
        predicted = np.empty((len(self.sum), *self.patch), np.float32)
        work = ((alike, flip) for alike in self._alike() for flip in self.flips)
        while chosen := list(itertools.islice(work, size)):
            for slot, (alike, flip) in enumerate(chosen):
                batch[slot] = _mirrored(self._cut(alike[0]), flip)
            for (alike, flip), logits in zip(chosen, network(batch), strict=False):
                if flip:
                    predicted += _mirrored(logits, flip)
                else:
                    predicted[:] = logits
                if flip == self.flips[-1]:
                    self._accumulate(alike, predicted)
                    progress(len(alike))
        self.networks += 1

    def logits(self) -> np.ndarray:
        """Return the mean logits `(K, z, y, x)` over tiles, mirrorings and networks, without the padding.

        The memory is the accumulator's: call it once, at the end.
        """
        total = np.zeros(self.voxels.shape[-len(self.patch) :], np.float32)
        for tile in self.in_plane:
            total[tile] += self.weights
        self.sum /= total * (self.networks * len(self.flips))
        return self.sum[(slice(None), *self.inner)]

    def _cut(self, tile: Tile) -> np.ndarray:
        return self.voxels[(slice(None), *tile)].reshape(len(self.voxels), *self.patch)

    def _alike(self) -> Iterator[list[Tile]]:
        """Yield groups of tiles with the same content.

        Tiles with one value per channel, such as those over empty background, form one group: the same input has the
        same output, which is computed once. Any other tile is a group of its own.
        """
        constant: dict[bytes, list[Tile]] = {}
        for tile in self.tiles:
            content = self._cut(tile)
            corner = content[(slice(None), *(slice(1) for _ in self.patch))]
            if (content == corner).all():
                constant.setdefault(corner.tobytes(), []).append(tile)
            else:
                yield [tile]
        yield from constant.values()

    def _accumulate(self, tiles: Sequence[Tile], predicted: np.ndarray) -> None:
        weighted = predicted * self.weights
        for tile in tiles:
            target = self.sum[(slice(None), *tile)]
            target += weighted.reshape(target.shape)


def _mirrored(array: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Return `(C, *patch)` mirrored along axes of the patch."""
    return np.flip(array, tuple(axis + 1 for axis in axes)) if axes else array
