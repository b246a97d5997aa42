"""Logits of a whole image from its tiles: nnU-Net's sliding window with batches of tiles and one accumulator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ser_nnunet.errors import UserError
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
    """The tiles of one image, and the mean of what networks predict for them.

    Sums and means have float16's precision, rounded where nnU-Net rounds them: float32 sums are more precise, but
    agree with nnU-Net's masks in 99.97 % of the voxels of small 3D images, these in nearly all (docs/deployment.md).

    Args:
        voxels: `(C, z, y, x)`, float32, preprocessed.
        patch: the tile's edges; two in 2D, where every slice has tiles of its own.
        heads: logits per voxel.
        step: distance of the tiles, in tiles, in (0, 1].
        mirror_axes: of the patch, along which every tile is also predicted mirrored; the mean counts.
        precision: of sums and means; `numpy.float32` is for comparisons.
    """

    def __init__(
        self,
        voxels: np.ndarray,
        patch: Sequence[int],
        heads: int,
        step: float,
        mirror_axes: Sequence[int] = (),
        precision: type[np.floating] = np.float16,
    ) -> None:
        self.patch, self.flips, self.precision = tuple(patch), mirrorings(mirror_axes), precision
        depth = 3 - len(self.patch)  # leading axes that tiles have one voxel of
        margins = [(0, 0)] * depth + padding(voxels.shape[1 + depth :], self.patch)
        self.inner = tuple(
            slice(before, before + size) for (before, _), size in zip(margins, voxels.shape[1:], strict=True)
        )
        self.voxels = np.pad(voxels, [(0, 0), *margins]) if any(map(any, margins)) else voxels
        self.in_plane = tile_slices(self.voxels.shape[1 + depth :], self.patch, step)
        planes = [(slice(index, index + 1),) for index in range(self.voxels.shape[1])] if depth else [()]
        self.tiles: list[Tile] = [(*plane, *tile) for plane in planes for tile in self.in_plane]
        self.weights = gaussian_weights(self.patch)
        self.heads, self.networks = heads, 0
        self._total: np.ndarray | None = None

    def add(self, network: Network, progress: Callable[[int], None] = lambda count: None) -> None:
        """Add a network (one of an ensemble).

        Tiles with one value per channel, such as those over empty background, are computed once: the same input has
        the same output.

        Args:
            network: takes batches of `batch_size(patch)` tiles.
            progress: called with the number of tiles that are done since the last call.

        Raises:
            UserError: logits beyond float16's range.
        """
        keys = [self._constant(tile) for tile in self.tiles]
        first = {key: tile for key, tile in zip(reversed(keys), reversed(self.tiles), strict=True) if key is not None}
        constant = {
            key: each.copy() for key, each in zip(first, self._predict(network, [*first.values()]), strict=True)
        }
        others = self._predict(network, [tile for tile, key in zip(self.tiles, keys, strict=True) if key is None])
        total = np.zeros((self.heads, *self.voxels.shape[1:]), self.precision)
        for tile, key in zip(self.tiles, keys, strict=True):
            predicted = next(others) if key is None else constant[key]
            target = total[(slice(None), *tile)]
            with np.errstate(over="ignore"):  # found below
                target[:] = target + (predicted * self.weights).reshape(target.shape)
            progress(1)
        weights = np.zeros(self.voxels.shape[-len(self.patch) :], self.precision)
        for inner in self.in_plane:
            weights[inner] = weights[inner] + self.weights
        for each in total:  # one class at a time: float32 is twice the memory
            each[:] = each.astype(np.float32) / weights
        if not np.isfinite(total).all():
            raise UserError("the network's logits exceed 6500, the range of float16, as which nnU-Net sums them")
        self._total = total if self._total is None else self._total + total
        self.networks += 1

    def logits(self) -> np.ndarray:
        """Return the mean logits `(K, z, y, x)` over tiles, mirrorings and networks, without the padding."""
        assert self._total is not None, "add a network first"
        mean = self._total if self.networks == 1 else self._total / self.precision(self.networks)
        return mean[(slice(None), *self.inner)]

    def _cut(self, tile: Tile) -> np.ndarray:
        return self.voxels[(slice(None), *tile)].reshape(len(self.voxels), *self.patch)

    def _constant(self, tile: Tile) -> bytes | None:
        """Return the values of a tile that has one per channel; None for any other tile."""
        content = self._cut(tile)
        corner = content[(slice(None), *(slice(1) for _ in self.patch))]
        return corner.tobytes() if (content == corner).all() else None

    def _predict(self, network: Network, tiles: Sequence[Tile]) -> Iterator[np.ndarray]:
        """Yield the mean logits `(K, *patch)` over the mirrorings of each tile, valid until the next."""
        predicted = np.empty((self.heads, *self.patch), np.float32)
        for flip, logits in self._compute(network, tiles):
            if flip:
                predicted += _mirrored(logits, flip)
            else:
                predicted[:] = logits
            if flip == self.flips[-1]:
                predicted /= len(self.flips)
                yield predicted

    def _compute(self, network: Network, tiles: Sequence[Tile]) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
        """Yield the mirrorings of each tile and the logits of it; the network computes the next batch meanwhile."""
        size = batch_size(self.patch)
        batches = itertools.cycle(np.zeros((2, size, len(self.voxels), *self.patch), np.float32))
        work = ((tile, flip) for tile in tiles for flip in self.flips)
        before: Iterable[tuple[int, ...]] = ()
        computing: Future[np.ndarray] | None = None
        with ThreadPoolExecutor(1) as thread:
            while chosen := list(itertools.islice(work, size)):
                batch = next(batches)
                for slot, (tile, flip) in enumerate(chosen):
                    batch[slot] = _mirrored(self._cut(tile), flip)
                logits = computing.result() if computing else ()
                computing = thread.submit(lambda batch: network(batch).copy(), batch)
                yield from zip(before, logits, strict=False)
                before = [flip for _, flip in chosen]
            yield from zip(before, computing.result() if computing else (), strict=False)


def _mirrored(array: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Return `(C, *patch)` mirrored along axes of the patch."""
    return np.flip(array, tuple(axis + 1 for axis in axes)) if axes else array
