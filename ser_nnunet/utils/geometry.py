"""The grid of an image: where its voxels lie in the world, and how far two grids are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ser_nnunet.utils.image_files import check_image_header


@dataclass(frozen=True)
class Grid:
    """An image's grid, in 2D or 3D, axes in SimpleITK's order (x, y, z).

    Attributes:
        size: voxels per axis.
        spacing: mm per axis.
        origin: centre of the first voxel in mm (LPS).
        direction: direction cosines, row by row.
        file: name of the file that it was read from, for messages; not compared.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    file: str = field(default="", compare=False)

    @classmethod
    def of(cls, image: sitk.Image, file: str = "") -> Grid:
        """Return the grid of an image in memory."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection(), file)

    @classmethod
    def read(cls, file: Path) -> Grid:
        """Return the grid that a file's header describes, without reading voxels; `RuntimeError` if that can't be."""
        check_image_header(file)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(file))
        reader.ReadImageInformation()
        return cls(reader.GetSize(), reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection(), file.name)

    def impose(self, image: sitk.Image) -> None:
        """Give an image of this size this grid's spacing, origin and direction."""
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)

    def corners(self) -> np.ndarray:
        """Return world coordinates in mm of the corner voxels' centres, `(8, 3)`, or `(4, 2)` in 2D."""
        axes = len(self.size)
        matrix = np.reshape(self.direction, (axes, axes)) * np.asarray(self.spacing)
        indices = np.array(list(product(*((0, count - 1) for count in self.size))), dtype=float)
        return np.asarray(indices @ matrix.T + self.origin)

    def orientation(self) -> str:
        """Return the nearest anatomical orientation of a 3D grid's axes in SimpleITK's letters, such as `LPS`."""
        return str(sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(self.direction))

    def distance_mm(self, other: Grid) -> float:
        """Return the greatest distance between the same corner of both grids in mm; infinite if the sizes differ."""
        if self.size != other.size:
            return float("inf")
        return float(np.linalg.norm(self.corners() - other.corners(), axis=1).max())

    def difference(self, expected: Grid) -> str:
        """Return in which parts of the header this grid differs from the expected one, with both values.

        The distance between their corners is added where the sizes are equal.
        """
        if self.size != expected.size:
            return f"shape {_format_numbers(self.size)}, expected {_format_numbers(expected.size)}"
        parts = [
            f"{part} {_format_numbers(found)}, expected {_format_numbers(wanted)}"
            for part in ("spacing", "origin", "direction")
            if not np.allclose(found := getattr(self, part), wanted := getattr(expected, part), rtol=0, atol=1e-4)
        ]
        return f"{'; '.join(parts) or 'header'} ({self.distance_mm(expected):.3g} mm apart)"


def _format_numbers(values: Sequence[float]) -> str:
    return f"({', '.join(np.format_float_positional(round(value, 4) + 0.0, trim='-') for value in values)})"
