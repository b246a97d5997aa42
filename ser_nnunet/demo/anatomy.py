"""Brain anatomy of the phantom: nilearn's MNI152 template, deformed and segmented anew for every patient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from scipy import ndimage

from ser_nnunet.errors import UserError

OVERSAMPLING = 2
"""Anatomy is drawn on a grid this many times finer than the image's and averaged, which gives partial volume."""

FIELD_OF_VIEW = (182.0, 218.0, 182.0)
"""Extent of MSLesSeg's grid in mm (FSL's MNI152 box), left-right, posterior-anterior, inferior-superior."""

CORNER = (90.5, -126.5, -72.5)
"""RAS coordinates (mm) of that box's left, posterior, inferior corner, where the first voxel begins."""

GREY, WHITE, FLUID = 0, 1, 2

VENTRICLE_BOX = ((-40.0, 40.0), (-60.0, 45.0), (-12.0, 38.0))
"""Box around the lateral ventricles in MNI space (mm); fluid elsewhere belongs to sulci and cisterns."""


@dataclass(frozen=True)
class Template:
    """Tissue probabilities `(3, X, Y, Z)` in [0, 1] (grey, white, fluid) at 1 mm, and the distance to the ventricles.

    `ventricle_distance` is in mm and negative inside the ventricles; `affine` maps voxel indices to RAS mm.
    """

    tissues: np.ndarray
    ventricle_distance: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class Brain:
    """One patient's anatomy on the fine grid: tissue map, distance to the ventricles, voxel size.

    `tissue` is `(X, Y, Z)` int8 with -1 outside the brain, `ventricle_distance` (mm) has the same shape, and `spacing`
    is the fine grid's voxel size in mm. Axes run right to left, posterior to anterior, inferior to superior (LAS).
    """

    tissue: np.ndarray
    ventricle_distance: np.ndarray
    spacing: float


def image_shape(spacing: float) -> tuple[int, int, int]:
    """Return the voxels of an image of `spacing` mm that covers the field of view (1 mm: 182 x 218 x 182)."""
    x, y, z = (int(np.ceil(extent / spacing)) for extent in FIELD_OF_VIEW)
    return x, y, z


def block_mean(fine: np.ndarray) -> np.ndarray:
    """Average a fine grid's array over the fine voxels of each image voxel."""
    steps = range(OVERSAMPLING)
    parts = (
        fine[i::OVERSAMPLING, j::OVERSAMPLING, k::OVERSAMPLING].astype(np.float32)
        for i, j, k in product(steps, steps, steps)
    )
    return sum(parts) / OVERSAMPLING**3  # type: ignore[return-value]


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: float, correlation_length: float
) -> np.ndarray:
    """Return Gaussian noise of unit variance, float32, that changes over about `correlation_length` mm.

    Values are drawn on a grid as coarse as the correlation length allows and interpolated by cubic B-splines (the
    weighted sum of four neighbouring knots, smooth without ringing), which costs little at any voxel size.
    """
    step = max(1.0, correlation_length / spacing)
    knots = rng.standard_normal([int(np.ceil(size / step)) + 3 for size in shape]).astype(np.float32)
    positions_per_axis = [np.arange(size, dtype=np.float32) / step + 1 for size in shape]
    for axis, positions in enumerate(positions_per_axis):
        first = positions.astype(int)
        t = (positions - first).reshape([-1 if a == axis else 1 for a in range(knots.ndim)])
        weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        parts = [w * np.take(knots, first + k - 1, axis=axis, mode="clip") for k, w in enumerate(weights)]
        knots = np.asarray(sum(parts) / 6)
    return knots / (knots.std() + 1e-6)


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Read nilearn's bundled MNI152 template (ICBM 2009a; Fonov et al., NeuroImage 2011); nothing is downloaded.

    Raises:
        UserError: nilearn isn't installed.
    """
    try:
        from nilearn import datasets
    except ImportError as error:
        raise UserError("The phantom needs nilearn's MNI152 template: pip install 'ser-nnunet[demo]'") from error
    t1, grey, white = (
        load(resolution=1)
        for load in (
            datasets.load_mni152_template,
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
        )
    )
    affine = np.asarray(t1.affine)
    g, w = (np.asarray(image.dataobj, dtype=np.float32) for image in (grey, white))
    brain = ndimage.binary_fill_holes(np.asarray(t1.dataobj) > 0.05)
    fluid = np.where(brain, np.clip(1 - g - w, 0, 1), 0).astype(np.float32)
    # The ventricles are the largest connected fluid space in the middle of the brain.
    inside = np.zeros(fluid.shape, bool)
    limits = [(np.array(box) - affine[axis, 3]).astype(int) for axis, box in enumerate(VENTRICLE_BOX)]
    inside[tuple(slice(*limit) for limit in limits)] = True
    labels, _ = ndimage.label(ndimage.binary_opening((fluid > 0.5) & inside))
    ventricles = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    distance = ndimage.distance_transform_edt(~ventricles) - ndimage.distance_transform_edt(ventricles)
    return Template(np.stack([g, w, fluid]), distance.astype(np.float32), affine)


def draw_brain(rng: np.random.Generator, spacing: float, ventricle_growth: float) -> Brain:
    """Return one patient's brain: the template deformed by a few mm, with widened ventricles and individual gyri.

    Args:
        rng: random number generator.
        spacing: voxel size of the image in mm; the anatomy's is OVERSAMPLING times smaller.
        ventricle_growth: mm by which the ventricles' walls move outwards, as with age and atrophy.
    """
    template = load_template()
    fine = spacing / OVERSAMPLING
    shape = tuple(size * OVERSAMPLING for size in image_shape(spacing))
    points = _template_points(rng, template, shape, fine)
    distance = _sample(template.ventricle_distance, points, outside=60.0)
    shift = ventricle_growth * np.exp(-np.abs(distance) / 12.0)
    for axis, slope in enumerate(np.gradient(ndimage.gaussian_filter(distance, 2.0 / fine), fine)):
        points[axis] += shift * slope if axis == 0 else -shift * slope  # axis 0 has the template's opposite direction
    maps = np.stack([_sample(values, points) for values in template.tissues])
    brain = maps.sum(axis=0) > 0.5
    # The template is a group average and blurred where people differ. Noise before the choice of the likeliest tissue
    # gives each patient sharp, individual gyri.
    for values in maps:
        values += 0.2 * smooth_noise(rng, shape, fine, 4.0)
    tissue = np.where(brain, maps.argmax(axis=0), -1).astype(np.int8)
    return Brain(tissue, distance - shift, fine)


def _template_points(rng: np.random.Generator, template: Template, shape: tuple[int, ...], fine: float) -> np.ndarray:
    """Return the position in the template, in its voxels, of every voxel of the fine grid: `(3, X, Y, Z)`."""
    axes = [np.arange(size, dtype=np.float32) * fine + fine / 2 for size in shape]
    axes[0] = -axes[0]  # from the patient's right to the left, opposite to the template
    scale = rng.normal(1.0, 0.02, size=3)
    start = [corner - offset for corner, offset in zip(CORNER, template.affine[:3, 3], strict=True)]
    centre = np.array(template.ventricle_distance.shape) / 2
    points = np.empty((3, *shape), np.float32)
    for axis, ticks in enumerate(axes):
        position = (start[axis] + ticks - centre[axis]) * scale[axis] + centre[axis]
        points[axis] = position.reshape([-1 if a == axis else 1 for a in range(3)])
        points[axis] += 2.0 * smooth_noise(rng, shape, fine, 40.0) + 1.0 * smooth_noise(rng, shape, fine, 12.0)
    return points


def _sample(values: np.ndarray, points: np.ndarray, outside: float = 0.0) -> np.ndarray:
    return ndimage.map_coordinates(values, points, order=1, mode="constant", cval=outside)
