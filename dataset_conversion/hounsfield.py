"""Does a mask lie in soft tissue, and better so than flipped? The trap of every CT set with labels stored apart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .cases import Case
from .problems import Problem

AIR_HU = -200
"""Below this there is air or lung; an abdominal organ has (almost) none of it."""
MOST_AIR = 0.05
WINDOW_HU = (-200, 300)
SHELL_VOXELS = 2
CLEARLY_HU = 3
"""By how much a flip must improve the contrast: on the real case at hand flips lose 5 to 18 HU of 13."""


def hounsfield_check(case: Case, image: sitk.Image, label: sitk.Image) -> Iterator[Problem]:
    """Refuse a mask with air inside, or one that a flip would improve in both respects that tell an organ.

    These are: its values are more alike (standard deviation), and it stands out more from a shell of 2 voxels around
    it. One of the two alone is no evidence: the liver, where the mirrored pancreas falls, is as
    uniform as the pancreas.
    The flips serve this comparison alone; nothing that is written is ever flipped.
    """
    assert case.label is not None
    values, mask = sitk.GetArrayViewFromImage(image), sitk.GetArrayViewFromImage(label) > 0
    if not mask.any():
        return
    if (air := float((values[mask] < AIR_HU).mean())) > MOST_AIR:
        text = f"{case.label.path.name}: {air:.0%} of the mask lie below {AIR_HU} HU, expected at most {MOST_AIR:.0%}"
        yield Problem("Hounsfield values", case.name, text)
        return
    spread, contrast = _fit(values, mask)
    for axes in (axes for count in (1, 2, 3) for axes in combinations(range(3), count)):
        other_spread, other_contrast = _fit(values, np.flip(mask, axes))
        if other_spread < spread and other_contrast > contrast + CLEARLY_HU:
            names = " and ".join("zyx"[axis] for axis in axes)
            text = (
                f"{case.label.path.name}: flipped along {names} it would fit better (spread {other_spread:.0f} against "
                f"{spread:.0f} HU, contrast to its surroundings {other_contrast:.0f} against {contrast:.0f} HU)"
            )
            yield Problem("Hounsfield values", case.name, text)
            return


def _fit(values: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Spread inside the mask and difference to a thin shell around it, in HU."""
    box = tuple(
        slice(max(0, part.start - SHELL_VOXELS), part.stop + SHELL_VOXELS)
        for part in ndimage.find_objects(mask.astype(np.uint8))[0]
    )
    inside = mask[box]
    shell = ndimage.binary_dilation(inside, iterations=SHELL_VOXELS) & ~inside
    here = np.clip(values[box], *WINDOW_HU).astype(np.float32)
    contrast = float(here[inside].mean() - here[shell].mean()) if shell.any() else 0.0
    return float(here[inside].std()), contrast
