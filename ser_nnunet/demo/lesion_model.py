"""Lesions of the phantom, and bright spots and vessels that are not lesions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ser_nnunet.demo.anatomy import FLUID, GREY, WHITE, Brain, block_mean, smooth_noise

SMALLEST_RADIUS = 2.2
"""mm. About 45 mm3; in three MSLesSeg patients a quarter of the lesions is smaller than 30 to 100 mm3."""

PERIVENTRICULAR_SHARE = 0.6
"""Share of lesions that start at a ventricle's wall; the others lie anywhere in white matter."""

EDGE = 1.0
"""Width in mm over which a lesion's signal decreases to white matter's, in addition to partial volume."""


@dataclass(frozen=True)
class Blob:
    """An ellipsoid with an irregular surface.

    `centre` and `radii` are in mm along the fine grid's axes, `strength` scales its signal, `seed` determines its
    surface, and `first_visit` is the time point (from 0) at which it appears.
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    strength: float
    seed: int
    first_visit: int = 0


def draw_lesions(rng: np.random.Generator, brain: Brain, visits: int, spacing: float) -> list[Blob]:
    """Return a patient's lesions: many small, few large (log-normal radii), most of them at the ventricles.

    Args:
        rng: random number generator.
        brain: where white matter and the ventricles lie.
        visits: number of time points; about one lesion in ten appears after the first.
        spacing: voxel size in mm; every lesion is large enough to fill a voxel.
    """
    count = int(np.clip(rng.lognormal(np.log(28), 0.6), 6, 100))
    white = brain.tissue == WHITE
    near = np.argwhere(white & (np.abs(brain.ventricle_distance - 2.5) < 2.5))
    anywhere = np.argwhere(white & (brain.ventricle_distance > 5))
    lesions: list[Blob] = []
    for _ in range(count):
        periventricular = rng.random() < PERIVENTRICULAR_SHARE
        positions = near if periventricular else anywhere
        centre = positions[rng.integers(len(positions))] * brain.spacing
        radius = max(
            float(rng.lognormal(np.log(3.8 if periventricular else 2.6), 0.45)), SMALLEST_RADIUS, 0.8 * spacing
        )
        first = int(rng.integers(1, visits)) if visits > 1 and lesions and rng.random() < 0.1 else 0
        strength = float(rng.uniform(0.45, 1.1))
        lesions.append(Blob(_to_triple(centre), _draw_radii(rng, radius), strength, int(rng.integers(2**31)), first))
    return lesions


def lesions_at_visit(rng: np.random.Generator, lesions: Sequence[Blob], visit: int) -> list[Blob]:
    """Return the lesions that are visible at a visit: earlier ones slightly larger or smaller, and new ones."""
    visible = []
    for lesion in lesions:
        change = float(np.clip(rng.normal(1.0 + 0.04 * visit, 0.05), 0.85, 1.3)) if visit else 1.0
        if lesion.first_visit <= visit:
            visible.append(replace(lesion, radii=_to_triple(np.array(lesion.radii) * change)))
    return visible


def render_lesions(brain: Brain, lesions: Sequence[Blob]) -> tuple[np.ndarray, np.ndarray]:
    """Return the lesions' share of each voxel and their signal on the fine grid, both `(X, Y, Z)` float32.

    The share is in [0, 1]; lesions grow in white matter, little into grey matter, and not into fluid.
    """
    extent = np.select([brain.tissue == WHITE, brain.tissue == GREY], [1.0, 0.25], 0.0).astype(np.float32)
    share, signal = _render(brain, lesions)
    return share * extent, signal * extent


def to_voxel_mask(share: np.ndarray) -> np.ndarray:
    """Return the image voxels of which a share on the fine grid fills at least half, `(x, y, z)` bool."""
    return block_mean(share) >= 0.5


def draw_distractors(rng: np.random.Generator, brain: Brain) -> list[Blob]:
    """Return bright spots on FLAIR that are not labelled: at the edge of the cortex and in the choroid plexus."""
    cortex = np.argwhere((brain.tissue == GREY) & (brain.ventricle_distance > 20))
    plexus = np.argwhere((brain.tissue == FLUID) & (brain.ventricle_distance < -2))
    spots = []
    for positions, count in ((cortex, int(rng.integers(12, 25))), (plexus, int(rng.integers(2, 6)))):
        for centre in positions[rng.integers(len(positions), size=count)] * brain.spacing:
            radii = _draw_radii(rng, float(rng.uniform(2.5, 4.5)))
            spots.append(Blob(_to_triple(centre), radii, float(rng.uniform(0.6, 1.1)), int(rng.integers(2**31))))
    return spots


def render_distractors(brain: Brain, spots: Sequence[Blob]) -> np.ndarray:
    """Return the strength of bright spots on the fine grid, `(X, Y, Z)` float32, 0 in white matter."""
    return _render(brain, spots)[1] * ((brain.tissue == GREY) | (brain.tissue == FLUID))


def draw_vessels(rng: np.random.Generator, brain: Brain) -> np.ndarray:
    """Return the share of perivascular spaces on the fine grid, `(X, Y, Z)` float32: thin tubes in white matter.

    They are dark on FLAIR and bright on T2, so that lesions cannot be segmented on T2 alone.
    """
    white = brain.tissue == WHITE
    tubes = np.zeros(brain.tissue.shape, bool)
    starts = np.argwhere(white & (brain.ventricle_distance > 8))
    for start in starts[rng.integers(len(starts), size=int(rng.integers(8, 20)))]:
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        steps = np.arange(0, rng.uniform(8, 20), brain.spacing / 2) / brain.spacing
        points = (start + steps[:, None] * direction).round().astype(int)
        points = points[((points >= 0) & (points < tubes.shape)).all(axis=1)]
        tubes[tuple(points.T)] = True
    return (tubes & white).astype(np.float32)


def _render(brain: Brain, blobs: Sequence[Blob]) -> tuple[np.ndarray, np.ndarray]:
    share, signal = (np.zeros(brain.tissue.shape, np.float32) for _ in range(2))
    for blob in blobs:
        window, local = _render_blob(brain, blob)
        share[window] = np.maximum(share[window], local)
        signal[window] = np.maximum(signal[window], local * blob.strength)
    return share, signal


def _render_blob(brain: Brain, blob: Blob) -> tuple[tuple[slice, ...], np.ndarray]:
    """Return the box around a blob and the blob's share of each voxel in it, float32 in [0, 1]."""
    reach = max(blob.radii) * 1.8
    bounds = [
        (max(int((c - reach) / brain.spacing), 0), min(int((c + reach) / brain.spacing) + 2, size))
        for c, size in zip(blob.centre, brain.tissue.shape, strict=True)
    ]
    window = tuple(slice(*bound) for bound in bounds)
    axes = np.meshgrid(*(np.arange(*bound) * brain.spacing for bound in bounds), indexing="ij", sparse=True)
    distance = sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, blob.centre, blob.radii, strict=True))
    shape = tuple(high - low for low, high in bounds)
    radius = float(np.prod(blob.radii)) ** (1 / 3)
    roughness = 0.15 * smooth_noise(np.random.default_rng(blob.seed), shape, brain.spacing, radius)
    depth = (1 - np.sqrt(np.asarray(distance, np.float32)) + roughness) * radius
    return window, np.clip(depth / EDGE + 0.5, 0, 1).astype(np.float32)


def _draw_radii(rng: np.random.Generator, radius: float) -> tuple[float, float, float]:
    """Return three radii around `radius` whose product is its cube."""
    stretch = np.exp(rng.normal(0, 0.25, size=3))
    return _to_triple(radius * stretch / np.prod(stretch) ** (1 / 3))


def _to_triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
