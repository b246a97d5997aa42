"""nnU-Net's resampling as one small matrix per axis.

nnU-Net calls `skimage.transform.resize`, which is `scipy.ndimage.zoom` and a clip to the input's range, and
`scipy.ndimage.map_coordinates` along the axis of thick slices: linear and separable, but computed voxel by voxel from
64 neighbours in 3D. Here, the product with one matrix resamples an axis, by BLAS and in float32. The results differ
from nnU-Net's by float32's rounding (docs/deployment.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ser_nnunet.runtime.recipe import Resampling
from ser_nnunet.runtime.splines import spline_matrix


def new_shape(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> tuple[int, ...]:
    """Return the shape that an image of `shape` and `spacing` has at the `target` spacing, as nnU-Net rounds it."""
    return tuple(round(old / new * size) for old, new, size in zip(spacing, target, shape, strict=True))


def separate_axis(rule: Resampling, spacing: Sequence[float], target: Sequence[float]) -> int | None:
    """Return the axis that is resampled on its own, with `rule.order_z`: that of the thick slices; None for none.

    As nnU-Net's `determine_do_sep_z_and_axis`: an image with two axes of the largest spacing has none.
    """
    if rule.force_separate_z is False:
        return None
    candidates = [spacing] if rule.force_separate_z else [spacing, target]
    for each in candidates:
        if rule.force_separate_z or max(each) / min(each) > rule.anisotropy_threshold:
            largest = [axis for axis, edge in enumerate(each) if edge == max(each)]
            return largest[0] if len(largest) == 1 else None
    return None


def _along(image: np.ndarray, axis: int, matrix: np.ndarray) -> np.ndarray:
    """Multiply one axis of `(z, y, x)` by a matrix; each of the three is one product (or a batch) without copies."""
    shape = image.shape
    if axis == 0:
        image = image.reshape(len(image), -1)
    product: np.ndarray = image @ matrix.T if axis == 2 else matrix @ image
    return product.reshape(len(matrix), *shape[1:]) if axis == 0 else product


def torchs_nearest_slices(old: int, new: int) -> np.ndarray:
    """Return which of `old` slices each of `new` ones is: `nearest-exact` of `torch.nn.functional.interpolate`.

    Torch computes positions in float32, whose rounding decides between two slices where one lies in the middle.
    """
    scale = np.float64(np.float32(old) / np.float32(new))
    positions = ((np.arange(new) + 0.5) * scale - 0.5).astype(np.float32)
    chosen = np.floor((np.maximum(positions, 0) + 0.5).astype(np.float32)).astype(np.int64)
    return np.minimum(chosen, old - 1)


def resample(
    image: np.ndarray,
    shape: Sequence[int],
    spacing: Sequence[float],
    target: Sequence[float],
    rule: Resampling,
) -> np.ndarray:
    """Return one channel on a grid of `shape`; the same array where nothing changes.

    Args:
        image: `(z, y, x)`, float32, or logits in float16.
        shape: the new grid's.
        spacing: mm; with the next one, it decides whether thick slices are resampled separately.
        target: mm, of the new grid.
        rule: the recipe's.
    """
    if rule.off or tuple(image.shape) == tuple(shape):
        return image
    separate = separate_axis(rule, spacing, target)
    axes = [axis for axis in range(3) if axis != separate and image.shape[axis] != shape[axis]]
    # resize clips its result to the range of what it got: the volume, or a slice where slices are resampled alone.
    whole = tuple(axis for axis in range(3) if axis != separate)
    if axes and rule.order > 1:
        lowest, highest = image.min(whole, keepdims=True), image.max(whole, keepdims=True)
    result = np.ascontiguousarray(image, dtype=np.float32)
    for axis in sorted(axes, key=lambda axis: shape[axis] / image.shape[axis]):  # what shrinks comes first
        result = _along(result, axis, spline_matrix(image.shape[axis], shape[axis], rule.order))
    if axes and rule.order > 1:
        np.clip(result, lowest, highest, out=result)
    if separate is not None and image.shape[separate] != shape[separate]:
        old, new = image.shape[separate], shape[separate]
        matrix = spline_matrix(old, new, rule.order_z)
        if rule.order_z == 0:
            nearest = matrix.argmax(axis=1) if rule.keeps_precision else torchs_nearest_slices(old, new)
            result = np.take(result, nearest, axis=separate)
        else:
            result = _along(result, separate, matrix)
    return result.astype(image.dtype, copy=False) if rule.keeps_precision else result
