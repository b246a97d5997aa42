"""Check for any modality whether a mask would lie better on the image if it were flipped or turned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ser_nnunet.dataset_conversion.core.data_classes import Case, Problem, Volume
from ser_nnunet.dataset_conversion.core.hounsfield import SHELL_VOXELS, move_image

LEVELS = 16
"""Intensities are divided into as many levels, with equally many of the compared voxels each."""
MIN_RATIO = 1.5
"""By how much the information must be greater in another position; docs/datasets.md says how this was chosen."""
MIN_DEVIATIONS = 6
"""By how many of its standard deviations, as of independent voxels, the difference must exceed 0."""


@dataclass(frozen=True)
class MaskPositionCheck:
    """Warns of a label whose classes share more information with the image in a mirrored or turned position.

    Compared are the voxels of the mask and of a shell of 2 voxels around it: the mutual information of class (shell, 1,
    2, ...) and intensity. It needs no assumption on modality or contrast. All flips are tried and, on square slices,
    those with x and y swapped. Nothing is changed.
    """

    ignore: int | None = None
    """Label value of voxels that are not annotated; they are left out."""

    def __call__(self, case: Case, volume: Volume, image: sitk.Image | None, label: sitk.Image) -> Iterator[Problem]:
        """Yield a warning if another position fits better."""
        if image is None:
            return
        found = find_better_position(sitk.GetArrayViewFromImage(image), sitk.GetArrayViewFromImage(label), self.ignore)
        if found:
            yield Problem("mask position", case.name, f"{volume.path.name}: {found}", fatal=False)


def find_better_position(values: np.ndarray, label: np.ndarray, ignore: int | None = None) -> str:
    """Describe the other position, `(z, y, x)`, in which the label fits best, or "" if none is clearly better."""
    foreground = (label > 0) & (label != ignore) if ignore is not None else label > 0
    if not foreground.any():
        return ""
    bounds = ndimage.find_objects(foreground.view(np.uint8))[0]
    box = tuple(slice(max(0, part.start - SHELL_VOXELS), part.stop + SHELL_VOXELS) for part in bounds)
    inside = foreground[box]
    shell = ndimage.binary_dilation(inside, iterations=SHELL_VOXELS) & ~inside
    if ignore is not None:
        shell &= label[box] != ignore
    compared = inside | shell
    classes = np.where(inside, label[box], 0)[compared].astype(np.int64)
    if not shell.any() or not np.isfinite(values[box][compared].sum(dtype=np.float64)):
        return ""
    own = measure_information(values[box][compared], classes)
    others = {name: measure_information(view[box][compared], classes) for name, view in move_image(values)}
    name = max(others, key=lambda name: others[name])
    noise = (2 * (LEVELS - 1) * int(np.count_nonzero(np.bincount(classes)) - 1)) ** 0.5 / (2 * len(classes))
    if others[name] < MIN_RATIO * max(own, 0) or others[name] - own < MIN_DEVIATIONS * noise:
        return ""
    return (
        f"{name} it would fit the image better (it tells {others[name]:.3f} nat about the intensities there, "
        f"{max(own, 0):.3f} where it lies)"
    )


def measure_information(values: np.ndarray, classes: np.ndarray) -> float:
    """Return the mutual information of intensities and classes, both `(N,)`, in nat, corrected for its bias.

    The bias of independent samples is subtracted (Miller, in: Information Theory in Psychology, 1955), so that the
    result is about 0, or below, where the two have nothing in common.
    """
    edges = np.unique(np.quantile(values, np.linspace(0, 1, LEVELS + 1)[1:-1]))
    levels = np.searchsorted(edges, values, side="right")
    table = np.bincount(classes * LEVELS + levels, minlength=(int(classes.max()) + 1) * LEVELS).reshape(-1, LEVELS)
    shares = table / len(values)
    rows, columns = shares.sum(axis=1, keepdims=True), shares.sum(axis=0, keepdims=True)
    held = shares > 0
    information = float((shares[held] * np.log(shares[held] / (rows * columns)[held])).sum())
    free = (np.count_nonzero(rows) - 1) * (np.count_nonzero(columns) - 1)
    return information - free / (2 * len(values))
