"""Checks across cases: images whose orientation or voxel size is unlike the others', and headers that were lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median

import SimpleITK as sitk

from ser_nnunet.dataset_conversion.core.data_classes import LABEL, CaseReport, Problem
from ser_nnunet.utils.geometry import Grid

FEW = 0.2
"""At most this part of the cases is called odd; where more differ, the data set is mixed, which is one problem."""
MAX_SPACING_RATIO = 3
"""Scanners of one study differ by less; a factor of 10 is cm taken for mm."""
NO_GEOMETRY = ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
"""Spacing, origin and direction of an image that was saved without its header."""


def find_odd_grids(reports: Sequence[CaseReport], reordered: bool = False) -> Iterator[Problem]:
    """Warn of orientations and spacings that few cases have, by the first channel of every case.

    Args:
        reports: of all cases.
        reordered: whether nnU-Net's reader brings all axes into one order, so that any orientation will do.
    """
    grids: dict[str, Grid] = {}
    for report in reports:
        images = [facts for facts in report.facts if facts.role != LABEL]
        if images:
            grids[report.case] = images[0].grid
    if reordered:
        grids = {case: _reorder(grid) for case, grid in grids.items()}
    yield from _find_odd_orientations(grids)
    yield from _find_odd_spacings(grids)


def _reorder(grid: Grid) -> Grid:
    """Return a grid with the axes in LPS order; size and origin stay, which the checks don't compare with others."""
    image = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    image.SetSpacing(grid.spacing)
    image.SetDirection(grid.direction)
    oriented = sitk.DICOMOrient(image, "LPS")
    return replace(grid, spacing=oriented.GetSpacing(), direction=oriented.GetDirection())


def _find_odd_orientations(grids: dict[str, Grid]) -> Iterator[Problem]:
    """nnU-Net takes arrays as they are stored: where these differ, the network sees some patients mirrored."""
    counts = Counter(grid.orientation() for grid in grids.values())
    if len(counts) < 2:
        return
    usual, number = counts.most_common(1)[0]
    if len(grids) - number > FEW * len(grids):
        found = ", ".join(f"{orientation} {count}" for orientation, count in counts.most_common())
        text = f"the axes are stored in {len(counts)} orientations ({found}): the network sees patients turned"
        yield Problem("orientation", "", text, fatal=False)
        return
    for case, grid in grids.items():
        if grid.orientation() != usual:
            text = f"its axes are stored as {grid.orientation()}, those of {number} of {len(grids)} cases as {usual}"
            yield Problem("orientation", case, text, fatal=False)


def _find_odd_spacings(grids: dict[str, Grid]) -> Iterator[Problem]:
    lost = [case for case, grid in grids.items() if (grid.spacing, grid.origin, grid.direction) == NO_GEOMETRY]
    if 0 < len(lost) <= FEW * len(grids):
        text = "its spacing is 1 mm and its origin 0 along every axis, as if it was saved without its header"
        yield from (Problem("spacing", case, text, fatal=False) for case in lost)
    middle = [median(grid.spacing[axis] for grid in grids.values()) for axis in range(3)] if grids else []
    for case, grid in grids.items():
        ratios = [found / usual for found, usual in zip(grid.spacing, middle, strict=True)]
        if max(max(ratios), 1 / min(ratios)) > MAX_SPACING_RATIO:
            spacing, usual = (" x ".join(f"{number:.3g}" for number in each) for each in (grid.spacing, middle))
            text = f"its voxels are {spacing} mm, the medians over the cases {usual} mm"
            yield Problem("spacing", case, text, fatal=False)
