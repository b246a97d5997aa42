"""nnU-Net's preprocessing of one case and its reversal: transpose, crop to the nonzero part, normalise, resample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.normalization import normalize
from ser_nnunet.runtime.recipe import Recipe
from ser_nnunet.runtime.resampling import new_shape, resample
from ser_nnunet.runtime.scan import Scan


@dataclass(frozen=True)
class Preprocessed:
    """What the network sees of a case; shapes and spacings in the model's order of axes.

    Attributes:
        voxels: `(C, *resampled)`, float32, contiguous.
        shape: of the transposed image.
        crop: the part that isn't background in all channels.
        spacing: mm, of the image.
        target: mm, of `voxels`.
    """

    voxels: np.ndarray
    shape: tuple[int, ...]
    crop: tuple[slice, ...]
    spacing: tuple[float, ...]
    target: tuple[float, ...]

    @property
    def cropped_shape(self) -> tuple[int, ...]:
        """Shape of the crop before resampling."""
        return tuple(part.stop - part.start for part in self.crop)


def preprocess(scan: Scan, recipe: Recipe) -> Preprocessed:
    """Return what nnU-Net's `DefaultPreprocessor.run_case_npy` makes of a scan.

    Raises:
        UserError: voxels that are all 0, too thin for the model's spacing, or a channel whose values its normalisation
            refuses.
    """
    order = recipe.transpose_forward
    voxels = scan.voxels.transpose(0, *(axis + 1 for axis in order))
    spacing = tuple(scan.spacing[axis] for axis in order)
    nonzero = voxels[0] != 0
    for channel in voxels[1:]:
        nonzero |= channel != 0
    crop = bounding_box(nonzero)
    if crop is None:
        raise UserError("the image is empty: all voxels are 0")
    mask = fill_holes(nonzero[crop]) if any(each.use_mask for each in recipe.normalization) else None
    target = recipe.full_spacing(spacing)
    cropped = voxels[(slice(None), *crop)]
    shape = cropped.shape[1:]
    if not recipe.resampling_data.off:
        shape = new_shape(shape, spacing, target)
    if not all(shape):
        extents = [round(size * edge, 3) for size, edge in zip(cropped.shape[1:], spacing, strict=True)]
        raise UserError(
            f"the part of the image that isn't 0 is {extents} mm large along the model's axes, less than half of a "
            f"voxel of the model ({[round(edge, 3) for edge in target]} mm) along one of them: nothing would be left"
        )
    result = np.empty((len(cropped), *shape), np.float32)
    for index, channel in enumerate(cropped):
        # A copy in the order of memory of what nnU-Net normalises, so that sums round alike.
        normal = normalize(channel.copy(order="K"), mask, recipe.normalization[index])
        result[index] = resample(normal, shape, spacing, target, recipe.resampling_data)
    return Preprocessed(result, tuple(voxels.shape[1:]), crop, spacing, target)


def bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """Return the smallest box around the true voxels of `(z, y, x)`; None if there are none."""
    box = []
    for axis in range(mask.ndim):
        there = np.flatnonzero(mask.any(tuple(other for other in range(mask.ndim) if other != axis)))
        if not len(there):
            return None
        box.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(box)


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """Return the mask with its holes: background that no path of faces connects to the border, along which nnU-Net
    keeps the background (as `scipy.ndimage.binary_fill_holes`).

    Background that is connected to the border spreads along each axis, plane by plane in both directions, until nothing
    changes: a few rounds for the shapes of bodies.
    """
    free = ~mask
    outside = np.zeros_like(mask)
    for axis in range(mask.ndim):
        for face in (0, -1):
            np.moveaxis(outside, axis, 0)[face] |= np.moveaxis(free, axis, 0)[face]
    count = -1
    while count != (count := int(np.count_nonzero(outside))):
        for axis in range(mask.ndim):
            reached, passable = np.moveaxis(outside, axis, 0), np.moveaxis(free, axis, 0)
            for index in range(1, len(reached)):
                reached[index] |= reached[index - 1] & passable[index]
            for index in range(len(reached) - 2, -1, -1):
                reached[index] |= reached[index + 1] & passable[index]
    filled: np.ndarray = ~outside
    return filled


def restore(segmentation: np.ndarray, case: Preprocessed, recipe: Recipe) -> np.ndarray:
    """Return a segmentation of the crop as a mask `(z, y, x)` of the whole image, background outside."""
    kind = np.uint8 if recipe.largest_label < 255 else np.uint16
    whole = np.zeros(case.shape, kind)
    whole[case.crop] = segmentation
    return np.ascontiguousarray(whole.transpose(recipe.transpose_backward))
