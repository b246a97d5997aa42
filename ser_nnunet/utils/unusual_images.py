"""Images that nnU-Net reads and ITK refuses: NIfTI files with a sheared affine, and TIFF files of 64-bit numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import nibabel
import numpy as np
import tifffile
from nibabel.spatialimages import SpatialImage

from ser_nnunet.utils.geometry import Grid
from ser_nnunet.utils.image_files import COPIES, ImageFileError, check_image
from ser_nnunet.utils.memory import available_memory

TIFF = (".tif", ".tiff")

NOT_PERPENDICULAR = "orthonormal direction cosines"
"""In ITK's message for a NIfTI file with a sheared affine, which nnU-Net's NibabelIO reads."""

RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


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


def check_readable(file: Path) -> None:
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
    with open_tiff(file) as series:
        axes = len(series.shape)
        return Grid(series.shape[::-1], (1.0,) * axes, (0.0,) * axes, tuple(np.eye(axes).ravel().tolist()), file.name)


@contextmanager
def open_tiff(file: Path) -> Iterator[tifffile.TiffPageSeries]:
    """Open a TIFF file by tifffile, as nnU-Net does; yield its first series of pages.

    Raises:
        ImageFileError: it can't be read, also within the context, or its voxels don't fit into the free memory.
    """
    try:
        with tifffile.TiffFile(file) as content:
            series, free = content.series[0], available_memory()
            if free is not None and series.nbytes * COPIES > free:
                edges = " x ".join(map(str, series.shape))
                raise ImageFileError(f"its header declares {edges} voxels, which do not fit into the free memory")
            yield series
    except ImageFileError:
        raise
    except Exception as error:  # whatever tifffile may raise for a damaged file
        raise ImageFileError(f"{type(error).__name__}: {error}") from error
