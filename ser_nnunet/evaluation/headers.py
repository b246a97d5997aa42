"""Whether predictions lie on the grids of their references, read from the headers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ser_nnunet.evaluation.case_files import CaseFiles
from ser_nnunet.utils.geometry import Grid
from ser_nnunet.utils.unusual_images import read_grid

SPACING_TOLERANCE = 1e-3
"""Greatest difference between two spacings, as a share of the smallest voxel edge: some tools write three decimals."""

ORIGIN_TOLERANCE = 1e-2
"""Greatest difference between two origins along each axis, as a share of the smallest voxel edge."""

DIRECTION_TOLERANCE = 1e-3
"""Greatest difference between two direction cosines."""

FORMATS_WITHOUT_SPACING = (".png", ".bmp", ".tif", ".tiff")
"""Formats whose resolution nnU-Net ignores (TIFF's is that of printing): only sizes are compared."""


@dataclass
class HeaderReport:
    """Result of reading the headers of one or more cases.

    Attributes:
        problems: every unreadable file and every difference between grids.
        unreadable: the files whose headers cannot be read.
        largest: number of voxels of the largest reference.
    """

    problems: list[str] = field(default_factory=list)
    unreadable: set[Path] = field(default_factory=set)
    largest: int = 0


def check_headers(cases: Sequence[CaseFiles]) -> HeaderReport:
    """Compare the grids of each reference and its predictions, without reading voxels."""
    with ThreadPoolExecutor(8) as pool:  # limited by the disk, not by the processor
        reports = list(pool.map(_check_case, cases))
    return HeaderReport(
        [problem for report in reports for problem in report.problems],
        set().union(*(report.unreadable for report in reports)),
        max((report.largest for report in reports), default=0),
    )


def describe_grid_difference(found: Grid, expected: Grid) -> str:
    """Return how a grid differs from the expected one by more than rounded headers do, or an empty string."""
    if found.size == expected.size:
        edge = min(expected.spacing)
        tolerances = {
            "spacing": SPACING_TOLERANCE * edge,
            "origin": ORIGIN_TOLERANCE * edge,
            "direction": DIRECTION_TOLERANCE,
        }
        if all(
            np.allclose(getattr(found, part), getattr(expected, part), rtol=0, atol=tolerance)
            for part, tolerance in tolerances.items()
        ):
            return ""
    return found.difference(expected)


def _check_case(case: CaseFiles) -> HeaderReport:
    report, grids = HeaderReport(), {}
    for file in case.files:
        try:
            grids[file] = read_grid(file)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1].strip()  # the lines before say where in ITK
            report.problems.append(f"{case.name}: {file} cannot be read ({reason})")
            report.unreadable.add(file)
    reference = grids.pop(case.reference, None)
    if reference is None:
        return report
    report.largest = math.prod(reference.size)
    for file, grid in grids.items():
        if file.suffix.lower() in FORMATS_WITHOUT_SPACING:
            difference = grid.difference(reference) if grid.size != reference.size else ""
        else:
            difference = describe_grid_difference(grid, reference)
        if difference:
            report.problems.append(f"{case.name}: {file} has {difference} as in {case.reference}")
    return report
