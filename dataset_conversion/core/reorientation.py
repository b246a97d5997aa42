"""Bring volumes onto one grid by their geometries, never by flipping arrays."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ser_nnunet.utils.geometry import Grid

TOLERANCE_MM = 0.05
"""Greatest distance between the same corner of two grids that counts as equal.

Far below the voxels of clinical scans, far above what the float32 numbers and quaternions of a NIfTI header lose
(1e-3 mm).
"""
TOLERANCE_VOXELS = 0.1
"""The same as a share of the smallest voxel edge: microscopes and micro-CT have voxels below `TOLERANCE_MM`."""


def tolerance_mm(grid: Grid) -> float:
    """Return the greatest distance in mm from a grid's corners that counts as equal."""
    return min(TOLERANCE_MM, TOLERANCE_VOXELS * min(grid.spacing))


def describe_mismatch(found: Grid, expected: Grid) -> str:
    """Return how two grids differ, and the tolerance that this exceeds (sizes must be equal)."""
    tolerance = f", tolerance {tolerance_mm(expected):.3g} mm" if found.size == expected.size else ""
    return found.difference(expected) + tolerance


def nnunet_headers_equal(first: Grid, second: Grid) -> bool:
    """Return whether nnU-Net's reader takes both headers for the same (`np.allclose` on each of their parts)."""
    return first.size == second.size and all(
        np.allclose(getattr(first, part), getattr(second, part)) for part in ("spacing", "origin", "direction")
    )


def reorient_to_grid(image: sitk.Image, grid: Grid) -> tuple[sitk.Image, str]:
    """Store an image on a grid without moving it in the world; return it and what was changed, or "".

    Axes that are only stored in another order or direction are permuted and flipped by geometry (`DICOMOrient`), and
    header numbers that differ within `tolerance_mm` become the grid's (not reported as a change where nnU-Net's reader
    takes them for equal). An image that lies elsewhere is returned as it is.
    """
    found = Grid.of(image)
    if found == grid:
        return image, ""
    if found.distance_mm(grid) <= tolerance_mm(grid):
        moved = sitk.Image(image)
        grid.impose(moved)
        if nnunet_headers_equal(found, grid):
            return moved, ""
        return moved, f"header moved by {found.distance_mm(grid):.1g} mm onto the first channel's"
    oriented = sitk.DICOMOrient(image, grid.orientation())
    if Grid.of(oriented).distance_mm(grid) > tolerance_mm(grid):
        return image, ""
    grid.impose(oriented)
    return oriented, f"axes reordered from {found.orientation()} to {grid.orientation()}, onto the first channel's grid"


def voxels_in_order(image: sitk.Image, orientation: str) -> np.ndarray:
    """Return a view of the voxels, `(z, y, x)`, with the axes as `DICOMOrient` orders and directs them.

    In LPS order, the same scan stored as LAS and as RAS gives the same array. Nothing is copied.
    """
    probe = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    probe.SetDirection(image.GetDirection())
    orient = sitk.DICOMOrientImageFilter()
    orient.SetDesiredCoordinateOrientation(orientation)
    orient.Execute(probe)
    order, flips = orient.GetPermuteOrder(), orient.GetFlipAxes()
    view = sitk.GetArrayViewFromImage(image).transpose([2 - axis for axis in reversed(order)])
    return np.asarray(np.flip(view, tuple(2 - axis for axis in range(3) if flips[axis])))
