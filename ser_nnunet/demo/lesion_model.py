"""Lesions of the phantom, and bright spots beside them that are no lesions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ser_nnunet.demo.anatomy import FLUID, GREY, WHITE, Brain, block_mean, smooth_noise

SMALLEST_RADIUS = 2.2
"""mm. About 45 mm3; MSLesSeg's three patients at hand have a quarter of their lesions below 30 to 100 mm3."""

PERIVENTRICULAR_SHARE = 0.6
"""Share of lesions that begin at a ventricle's wall; the others lie anywhere in white matter."""

EDGE = 1.0
"""mm over which a lesion's signal fades into white matter, on top of partial volume."""


@dataclass(frozen=True)
class Blob:
    """A rounded thing: `centre` and `radii` in mm on the fine grid's axes, its `strength`, a seed for its outline."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    strength: float
    seed: int
    first_visit: int = 0


def draw_lesions(rng: np.random.Generator, brain: Brain, visits: int, spacing: float) -> list[Blob]:
    """Return a patient's lesions: many small, few large (log-normal radii), most of them at the ventricles.

    Args:
        rng: source of all chance.
        brain: where white matter and the ventricles lie.
        visits: time points; about one lesion in ten appears after the first.
        spacing: voxel size in mm; no lesion is drawn too small to fill a voxel.
    """
    count = int(np.clip(rng.lognormal(np.log(28), 0.6), 6, 100))
    white = brain.tissue == WHITE
    near = np.argwhere(white & (np.abs(brain.ventricle_distance - 2.5) < 2.5))
    anywhere = np.argwhere(white & (brain.ventricle_distance > 5))
    lesions: list[Blob] = []
    for _ in range(count):
        by_ventricle = rng.random() < PERIVENTRICULAR_SHARE
        places = near if by_ventricle else anywhere
        centre = places[rng.integers(len(places))] * brain.spacing
        radius = max(float(rng.lognormal(np.log(3.8 if by_ventricle else 2.6), 0.45)), SMALLEST_RADIUS, 0.8 * spacing)
        first = int(rng.integers(1, visits)) if visits > 1 and lesions and rng.random() < 0.1 else 0
        strength = float(rng.uniform(0.45, 1.1))
        lesions.append(Blob(_triple(centre), _flatten(rng, radius), strength, int(rng.integers(2**31)), first))
    return lesions


def at_visit(rng: np.random.Generator, lesions: Sequence[Blob], visit: int) -> list[Blob]:
    """Return the lesions to be seen at a visit: old ones a little larger or smaller, and those that are new."""
    seen = []
    for lesion in lesions:
        change = float(np.clip(rng.normal(1.0 + 0.04 * visit, 0.05), 0.85, 1.3)) if visit else 1.0
        if lesion.first_visit <= visit:
            seen.append(replace(lesion, radii=_triple(np.array(lesion.radii) * change)))
    return seen


def render_lesions(brain: Brain, lesions: Sequence[Blob]) -> tuple[np.ndarray, np.ndarray]:
    """Return what lesions fill and how strongly they shine on the fine grid, both `(X, Y, Z)` float32, 0 outside.

    The first is a share in [0, 1]: lesions grow in white matter, hardly into grey, never into fluid.
    """
    room = np.select([brain.tissue == WHITE, brain.tissue == GREY], [1.0, 0.25], 0.0).astype(np.float32)
    share, signal = _render(brain, lesions)
    return share * room, signal * room


def fills_voxel(share: np.ndarray) -> np.ndarray:
    """Return where a fine grid's share takes at least half of an image voxel: the mask a careful rater would draw."""
    return block_mean(share) >= 0.5


def draw_distractors(rng: np.random.Generator, brain: Brain) -> list[Blob]:
    """Return bright spots of FLAIR that no rater would mark: at the edge of the cortex and in the choroid plexus."""
    cortex = np.argwhere((brain.tissue == GREY) & (brain.ventricle_distance > 20))
    plexus = np.argwhere((brain.tissue == FLUID) & (brain.ventricle_distance < -2))
    spots = []
    for places, count in ((cortex, int(rng.integers(12, 25))), (plexus, int(rng.integers(2, 6)))):
        for centre in places[rng.integers(len(places), size=count)] * brain.spacing:
            radii = _flatten(rng, float(rng.uniform(2.5, 4.5)))
            spots.append(Blob(_triple(centre), radii, float(rng.uniform(0.6, 1.1)), int(rng.integers(2**31))))
    return spots


def render_distractors(brain: Brain, spots: Sequence[Blob]) -> np.ndarray:
    """Return the strength of bright spots on the fine grid, `(X, Y, Z)` float32: outside white matter alone."""
    return _render(brain, spots)[1] * ((brain.tissue == GREY) | (brain.tissue == FLUID))


def draw_vessels(rng: np.random.Generator, brain: Brain) -> np.ndarray:
    """Return the share of vessel-like spaces on the fine grid: thin tubes through white matter filled with fluid.

    Dark on FLAIR and bright on T2, like perivascular spaces, which a network that looks at T2 alone takes for lesions.
    """
    white = brain.tissue == WHITE
    tubes = np.zeros(brain.tissue.shape, bool)
    starts = np.argwhere(white & (brain.ventricle_distance > 8))
    for start in starts[rng.integers(len(starts), size=int(rng.integers(8, 20)))]:
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        steps = np.arange(0, rng.uniform(8, 20), brain.spacing / 2) / brain.spacing
        way = (start + steps[:, None] * direction).round().astype(int)
        way = way[((way >= 0) & (way < tubes.shape)).all(axis=1)]
        tubes[tuple(way.T)] = True
    return (tubes & white).astype(np.float32)


def _render(brain: Brain, blobs: Sequence[Blob]) -> tuple[np.ndarray, np.ndarray]:
    share, signal = (np.zeros(brain.tissue.shape, np.float32) for _ in range(2))
    for blob in blobs:
        window, local = _render_one(brain, blob)
        share[window] = np.maximum(share[window], local)
        signal[window] = np.maximum(signal[window], local * blob.strength)
    return share, signal


def _render_one(brain: Brain, blob: Blob) -> tuple[tuple[slice, ...], np.ndarray]:
    """Return the box around a blob and its share there: an ellipsoid whose outline noise has made uneven."""
    reach = max(blob.radii) * 1.8
    bounds = [
        (max(int((c - reach) / brain.spacing), 0), min(int((c + reach) / brain.spacing) + 2, size))
        for c, size in zip(blob.centre, brain.tissue.shape, strict=True)
    ]
    window = tuple(slice(*bound) for bound in bounds)
    axes = np.meshgrid(*(np.arange(*bound) * brain.spacing for bound in bounds), indexing="ij", sparse=True)
    away = sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, blob.centre, blob.radii, strict=True))
    shape = tuple(high - low for low, high in bounds)
    radius = float(np.prod(blob.radii)) ** (1 / 3)
    uneven = 0.15 * smooth_noise(np.random.default_rng(blob.seed), shape, brain.spacing, radius)
    depth = (1 - np.sqrt(np.asarray(away, np.float32)) + uneven) * radius
    return window, np.clip(depth / EDGE + 0.5, 0, 1).astype(np.float32)


def _flatten(rng: np.random.Generator, radius: float) -> tuple[float, float, float]:
    """Return three radii around `radius` whose product is its cube."""
    stretch = np.exp(rng.normal(0, 0.25, size=3))
    return _triple(radius * stretch / np.prod(stretch) ** (1 / 3))


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
