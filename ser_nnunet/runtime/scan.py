"""A case's channels on one grid, and the kinds of files that hold images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl", ".png", ".bmp", ".tif", ".tiff")
DICOM_ENDING = ".nii.gz"
"""What masks of DICOM series are written as."""
SAME_GRID = 1e-3  # mm or cosines: headers of one scan, converted by different tools, differ in the last digits


@dataclass(frozen=True)
class Scan:
    """A case's channels on one grid.

    Attributes:
        voxels: `(C, z, y, x)`, float32; a 2D image has one slice.
        spacing: mm, in the order of the axes `(z, y, x)`.
        grid: the geometry that the mask gets; None for arrays.
    """

    voxels: np.ndarray
    spacing: tuple[float, ...]
    grid: Grid | None = None


@dataclass(frozen=True)
class Grid:
    """Geometry of an image, axes in the order `(x, y, z)`.

    Attributes:
        orientation: the one to return to where the recipe reorients images.
        source: the NIfTI image, of which the mask gets the header; None where SimpleITK writes it.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    orientation: str | None = None
    source: Any = None


def flat_spacing(spacing: Sequence[float]) -> tuple[float, ...]:
    """Return the spacing `(z, y, x)` that nnU-Net gives a 2D image of spacing `(y, x)`."""
    return (max(spacing) * 999, *spacing)


def different_grids(grids: Sequence[Grid], names: Sequence[str]) -> list[str]:
    """Return a sentence for each property in which a channel's grid differs from the first one's."""
    first, problems = grids[0], []
    for grid, name in zip(grids[1:], names[1:], strict=True):
        for what, one, other in (
            ("size", first.size, grid.size),
            ("spacing", first.spacing, grid.spacing),
            ("orientation", first.direction, grid.direction),
            ("origin", first.origin, grid.origin),
        ):
            if len(one) != len(other) or not np.allclose(one, other, atol=SAME_GRID, rtol=0):
                shown = [tuple(round(float(value), 4) for value in each) for each in (one, other)]
                problems.append(f"{name}: {what} {shown[1]} found, expected {shown[0]} as of {names[0]}")
    return problems and [*problems, "register and resample the channels to one grid first"]


def holds_dicom(path: Path) -> bool:
    """Whether a path is a folder with DICOM files in it: `DICM` behind a preamble of 128 bytes (PS3.10)."""
    for file in path.iterdir() if path.is_dir() else ():
        if file.is_file():
            with file.open("rb") as stream:
                if stream.read(132)[128:] == b"DICM":
                    return True
    return False
