"""Whether predictions lie on the grids of their references, read from the headers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import nibabel
import numpy as np
import tifffile
from nibabel.spatialimages import SpatialImage

from ser_nnunet.evaluation.case_files import CaseFiles
from ser_nnunet.utils.geometry import Grid
from ser_nnunet.utils.image_files import COPIES, ImageFileError, check_image
from ser_nnunet.utils.memory import available_memory

SPACING_TOLERANCE = 1e-3
"""Greatest difference between two spacings, as a share of the smallest voxel edge: some tools write three decimals."""

ORIGIN_TOLERANCE = 1e-2
"""Greatest difference between two origins along each axis, as a share of the smallest voxel edge."""

DIRECTION_TOLERANCE = 1e-3
"""Greatest difference between two direction cosines."""

FORMATS_WITHOUT_SPACING = (".png", ".bmp", ".tif", ".tiff")
"""Formats whose resolution nnU-Net ignores (TIFF's is that of printing): only sizes are compared."""

TIFF = (".tif", ".tiff")

NOT_PERPENDICULAR = "orthonormal direction cosines"
"""In ITK's message for a NIfTI file with a sheared affine, which nnU-Net's NibabelIO reads."""

RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


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


def read_grid(file: Path) -> Grid:
    """Return the grid that a file's header describes, also of files that nnU-Net reads and ITK refuses.

    These are NIfTI files whose axes are not perpendicular, and TIFF files of 64-bit numbers.

    Raises:
        RuntimeError: it is no image that can be read.
    """
    try:
        return Grid.read(file)
    except ImageFileError:
        raise
    except RuntimeError as error:
        if NOT_PERPENDICULAR in str(error):
            return _read_sheared_grid(file)
        if file.suffix.lower() in TIFF:
            return _read_tiff_grid(file)
        raise


def check_segmentation(file: Path) -> None:
    """Refuse what `check_image` refuses, but no TIFF file that ITK can't read: nnU-Net reads it by tifffile.

    Raises:
        RuntimeError: with the reason.
    """
    try:
        check_image(file)
    except ImageFileError:
        raise
    except RuntimeError:
        if file.suffix.lower() not in TIFF:
            raise


def _read_sheared_grid(file: Path) -> Grid:
    """Return the grid of a NIfTI file by nibabel: columns of the affine are the axes, in RAS."""
    image = cast(SpatialImage, nibabel.load(file))
    affine = np.asarray(image.affine)
    columns = RAS_TO_LPS[:, None] * affine[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    if not np.isfinite(columns).all() or spacing.min() == 0:
        raise ImageFileError("its affine is damaged: an axis has no length or direction")
    if image.ndim < 3:
        raise ImageFileError(f"{image.ndim} axes that are not perpendicular, nnU-Net's NibabelIO reads 3")
    direction = columns / spacing
    return Grid(
        tuple(int(edge) for edge in image.shape[:3]),
        tuple(spacing.tolist()),
        tuple((RAS_TO_LPS * affine[:3, 3]).tolist()),
        tuple(direction.ravel().tolist()),
        file.name,
    )


def _read_tiff_grid(file: Path) -> Grid:
    """Return the size of a TIFF file by tifffile, with voxels of 1 mm."""
    try:
        with tifffile.TiffFile(file) as content:
            series = content.series[0]
    except Exception as error:  # whatever it may raise for a damaged file
        raise ImageFileError(f"{type(error).__name__}: {error}") from error
    free = available_memory()
    if free is not None and series.nbytes * COPIES > free:
        edges = " x ".join(map(str, series.shape))
        raise ImageFileError(f"its header declares {edges} voxels, which do not fit into the free memory")
    axes = len(series.shape)
    return Grid(series.shape[::-1], (1.0,) * axes, (0.0,) * axes, tuple(np.eye(axes).ravel().tolist()), file.name)


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
