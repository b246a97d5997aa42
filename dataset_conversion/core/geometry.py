"""Grids in the world: do two volumes lie on the same one, and how far are they apart in mm?"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np
import SimpleITK as sitk

TOLERANCE_MM = 0.05
"""Greatest distance between the same corner of two grids that counts as equal.

Far below any voxel of these data sets (0.27 mm and more), far above what the float32 numbers and quaternions of a NIfTI
header lose (1e-3 mm).
"""


@dataclass(frozen=True)
class Grid:
    """Where a volume lies: size in voxels, spacing and origin in mm (LPS), direction cosines row by row."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    file: str = field(default="", compare=False)
    """Name of the file that it was read from, for messages."""

    @classmethod
    def of(cls, image: sitk.Image, file: str = "") -> Grid:
        """Return the grid of a 3D image."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection(), file)

    def impose(self, image: sitk.Image) -> None:
        """Give an image of this size this grid's spacing, origin and direction."""
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)

    def corners(self) -> np.ndarray:
        """World coordinates in mm of the eight corner voxels' centres, `(8, 3)`."""
        matrix = np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing)
        indices = np.array(list(product(*((0, count - 1) for count in self.size))), dtype=float)
        return np.asarray(indices @ matrix.T + self.origin)

    def orientation(self) -> str:
        """The nearest anatomical orientation of the axes in SimpleITK's letters, such as `LPS`."""
        return str(sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(self.direction))


def distance_mm(first: Grid, second: Grid) -> float:
    """Greatest distance between the same corner of both grids in mm; infinite where the sizes differ."""
    if first.size != second.size:
        return float("inf")
    return float(np.linalg.norm(first.corners() - second.corners(), axis=1).max())


def nnunet_calls_equal(first: Grid, second: Grid) -> bool:
    """Whether nnU-Net's reader takes both headers for the same (`np.allclose` on each of their parts)."""
    return first.size == second.size and all(
        np.allclose(getattr(first, part), getattr(second, part)) for part in ("spacing", "origin", "direction")
    )


def onto(image: sitk.Image, grid: Grid) -> tuple[sitk.Image, str]:
    """Bring an image onto a grid without touching its place in the world; return it and what was done, or "".

    Axes that are only stored in another order or direction are permuted and flipped by geometry (`DICOMOrient`), and
    numbers that differ within `TOLERANCE_MM` become the grid's (no change worth a new file where nnU-Net's reader takes
    them for equal). An image that lies elsewhere comes back as it is.
    """
    if distance_mm(Grid.of(image), grid) > TOLERANCE_MM:
        oriented = sitk.DICOMOrient(image, grid.orientation())
        if distance_mm(Grid.of(oriented), grid) > TOLERANCE_MM:
            return image, ""
        change = (
            f"axes reordered from {Grid.of(image).orientation()} to {grid.orientation()}, onto the first channel's grid"
        )
        grid.impose(oriented)
        return oriented, change
    found = Grid.of(image)
    if found == grid:
        return image, ""
    grid.impose(moved := sitk.Image(image))
    is_change = not nnunet_calls_equal(found, grid)
    return moved, f"header moved by {distance_mm(found, grid):.1g} mm onto the first channel's" if is_change else ""


def voxels_in_lps_order(image: sitk.Image) -> np.ndarray:
    """A view of the voxels, `(z, y, x)`, with the axes in the order and direction that `DICOMOrient` to LPS gives them.

    The same scan stored as LAS and as RAS gives the same array. Nothing is copied.
    """
    probe = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    probe.SetDirection(image.GetDirection())
    orient = sitk.DICOMOrientImageFilter()
    orient.SetDesiredCoordinateOrientation("LPS")
    orient.Execute(probe)
    order, flips = orient.GetPermuteOrder(), orient.GetFlipAxes()
    view = sitk.GetArrayViewFromImage(image).transpose([2 - axis for axis in reversed(order)])
    return np.asarray(np.flip(view, tuple(2 - axis for axis in range(3) if flips[axis])))


def difference(found: Grid, expected: Grid) -> str:
    """Say in which part two grids differ, with both values."""
    if found.size != expected.size:
        return f"shape {found.size}, expected {expected.size}"
    parts = [
        f"{part} {_rounded(getattr(found, part))}, expected {_rounded(getattr(expected, part))}"
        for part, tolerance in (("spacing", 1e-4), ("origin", TOLERANCE_MM), ("direction", 1e-4))
        if not np.allclose(getattr(found, part), getattr(expected, part), rtol=0, atol=tolerance)
    ]
    distance = distance_mm(found, expected)
    return f"{'; '.join(parts) or 'header'} ({distance:.3g} mm apart, tolerance {TOLERANCE_MM} mm)"


def _rounded(numbers: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(number, 4) + 0.0 for number in numbers)
