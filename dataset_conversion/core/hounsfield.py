"""Check that a CT mask lies in soft tissue and that no flip or quarter turn fits better."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ser_nnunet.dataset_conversion.core.data_classes import Case, Problem, Volume

AIR_HU = -200
"""Below this there is air or lung; an abdominal organ has (almost) none of it."""
MAX_AIR = 0.01
TISSUE_HU = (-100, 250)
"""From the fat at an organ's rim to parenchyma and vessels with contrast medium."""
MIN_TISSUE = 0.9
WINDOW_HU = (-200, 300)
SHELL_VOXELS = 2
MIN_GAIN_HU = 3
"""By how much another position must improve the contrast: on the real case at hand each loses 3.5 HU or more of 13."""


def check_hounsfield_values(
    case: Case, volume: Volume, image: sitk.Image | None, label: sitk.Image
) -> Iterator[Problem]:
    """Refuse a mask with air inside, with little soft tissue, or one that would fit better flipped or turned.

    Flips along all axes are tried and, where slices are square, with x and y swapped (thus quarter turns). One fits
    better if its values are more alike (standard deviation) and it stands out more from a shell of 2 voxels around it.
    One of the two alone is no evidence: the liver, where the mirrored pancreas falls, is as uniform as the pancreas.
    These positions serve the comparison alone; nothing that is written is ever flipped or turned.

    One real case backs all numbers here (NIH Pancreas-CT 0002): it has 0.01 % of air and 99.98 % of soft tissue, and is
    refused in each of its 15 other positions. Shifts are not detected: of 42 shifts of that mask by 5 to 80 voxels
    along one axis 14 pass, because it falls into other soft tissue.
    """
    if image is None:
        return
    values, mask = sitk.GetArrayViewFromImage(image), sitk.GetArrayViewFromImage(label) > 0
    if not mask.any():
        return
    inside = values[mask]
    faults = []
    if (air := float((inside < AIR_HU).mean())) > MAX_AIR:
        faults.append(f"{air:.1%} of the mask lie below {AIR_HU} HU, expected at most {MAX_AIR:.1%}")
    low, high = TISSUE_HU
    if (tissue := float(((inside >= low) & (inside <= high)).mean())) < MIN_TISSUE:
        faults.append(f"{tissue:.1%} of the mask lie within {low} to {high} HU, expected at least {MIN_TISSUE:.1%}")
    if better := find_better_position(values, mask):
        faults.append(better)
    if faults:
        yield Problem("Hounsfield values", case.name, f"{volume.path.name}: {'; '.join(faults)}")


def find_better_position(values: np.ndarray, mask: np.ndarray) -> str:
    """Describe the other position, `(z, y, x)`, in which the mask would fit best, or "" if none fits better."""
    bounds = ndimage.find_objects(mask.view(np.uint8))[0]
    box = tuple(slice(max(0, part.start - SHELL_VOXELS), part.stop + SHELL_VOXELS) for part in bounds)
    inside = mask[box]
    shell = ndimage.binary_dilation(inside, iterations=SHELL_VOXELS) & ~inside
    spread, contrast = _measure_fit(values[box], inside, shell)
    fits = {name: _measure_fit(view[box], inside, shell) for name, view in move_image(values)}
    better = {name: fit for name, fit in fits.items() if fit[0] < spread and fit[1] > contrast + MIN_GAIN_HU}
    if not better:
        return ""
    name = min(better, key=lambda name: better[name])
    return (
        f"{name} it would fit better (spread {better[name][0]:.0f} against {spread:.0f} HU, "
        f"contrast to its surroundings {better[name][1]:.0f} against {contrast:.0f} HU)"
    )


def move_image(values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what would be done to the mask, and a view of the image `(z, y, x)` to which the inverse is done."""
    flips = [axes for count in range(4) for axes in combinations(range(3), count)]
    names = {axes: " and ".join("zyx"[axis] for axis in axes) for axes in flips}
    for axes in flips[1:]:
        yield f"flipped along {names[axes]}", np.flip(values, axes)
    if values.shape[1] == values.shape[2]:
        for axes in flips:
            first = f"flipped along {names[axes]}, then " if axes else ""
            yield f"{first}with x and y swapped", np.flip(values.swapaxes(1, 2), axes)


def _measure_fit(values: np.ndarray, inside: np.ndarray, shell: np.ndarray) -> tuple[float, float]:
    """Return the spread inside the mask and its contrast to the thin shell around it, in HU."""
    here = np.clip(values, *WINDOW_HU).astype(np.float32)
    contrast = float(here[inside].mean() - here[shell].mean()) if shell.any() else 0.0
    return float(here[inside].std()), contrast
