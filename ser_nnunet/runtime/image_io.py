"""Reading a case's images in nnU-Net's order of axes, and writing its mask on the same grid, with SimpleITK."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.recipe import Recipe
from ser_nnunet.runtime.scan import Grid, Scan, different_grids, flat_spacing, holds_dicom
from ser_nnunet.utils.dicom_slices import SeriesError, check_series_files, read_slices
from ser_nnunet.utils.image_files import check_image

PICTURE_SPACING = (999.0, 1.0, 1.0)  # nnU-Net's for PNG and the like


class DirectionsError(UserError):
    """A whole image whose axes aren't orthogonal, which SimpleITK doesn't read; nibabel reads such NIfTI files."""


def read_image(path: Path) -> sitk.Image:
    """Read a file, or a folder with one DICOM series.

    Raises:
        UserError: it can't be read, is no whole image, or the folder holds none, several, or an incomplete series.
        DirectionsError: of these, a file whose axes aren't orthogonal.
    """
    try:
        if not path.is_dir():
            check_image(path)
            return sitk.ReadImage(str(path))
        check_series_files(path.iterdir())
        series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(path)) if holds_dicom(path) else []
        if len(series) != 1:
            raise UserError(f"{path}: one DICOM series expected, {len(series)} found: give each a folder of its own")
        return read_slices([Path(name) for name in sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), series[0])])
    except SeriesError as error:
        raise UserError(f"{path}: {error}") from error
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("sitk::ERROR: ")
        if "orthonormal" in reason:
            raise DirectionsError(
                f"{path}: its axes are not orthogonal, which SimpleITK doesn't read; for NIfTI files, and a model that "
                "doesn't reorient its images, nibabel does: python -m pip install nibabel"
            ) from error
        raise UserError(f"{path}: not an image that can be read, perhaps truncated ({reason})") from error


def scan_from_images(images: Sequence[sitk.Image], names: Sequence[str], recipe: Recipe) -> Scan:
    """Return the channels as one scan.

    Args:
        images: one per channel of the recipe, in its order (a picture of several colours may hold several).
        names: what error messages call them, such as the files.
        recipe: the model's.

    Raises:
        UserError: channels on different grids, or of a dimension or number that the model doesn't take.
    """
    if not images:
        raise UserError(f"no image given; the model expects {len(recipe.channels)}: {', '.join(recipe.channels)}")
    problems = [
        f"{name}: {each.GetDimension()} dimensions with {each.GetNumberOfComponentsPerPixel()} values per voxel found, "
        f"expected {'a 2D picture' if recipe.pictures else '2 or 3 dimensions and one value'}"
        for each, name in zip(images, names, strict=True)
        if (each.GetDimension() != 2 if recipe.pictures else each.GetDimension() not in (2, 3))
        or (each.GetNumberOfComponentsPerPixel() > 1 and not recipe.pictures)
    ]
    problems = problems or different_grids([_grid(each) for each in images], names)
    if problems:
        raise UserError("\n".join(problems))
    orientation = None
    if recipe.reorient is not None:
        orientation = sitk.DICOMOrientImageFilter_GetOrientationFromDirectionCosines(images[0].GetDirection())
        images = [sitk.DICOMOrient(each, recipe.reorient) for each in images]
    first = images[0]
    voxels = np.vstack([_channels(each) for each in images], dtype=np.float32, casting="unsafe")
    spacing = first.GetSpacing()[::-1]
    if recipe.pictures:
        spacing = PICTURE_SPACING
    elif first.GetDimension() == 2:
        spacing = flat_spacing(spacing)
    return Scan(voxels, tuple(abs(float(edge)) for edge in spacing), _grid(first, orientation))


def _grid(image: sitk.Image, orientation: str | None = None) -> Grid:
    return Grid(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection(), orientation)


def _channels(image: sitk.Image) -> np.ndarray:
    """Return `(C, z, y, x)`: a view of the image's voxels, colours of a picture as channels."""
    array = sitk.GetArrayViewFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        return np.moveaxis(array, -1, 0)[:, None]
    return array[None, None] if array.ndim == 2 else array[None]


def mask_image(mask: np.ndarray, grid: Grid) -> sitk.Image:
    """Return a mask `(z, y, x)` as an image on the grid that its scan had when it was read."""
    image = sitk.GetImageFromArray(mask[0] if len(grid.size) == 2 else mask)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image if grid.orientation is None else sitk.DICOMOrient(image, grid.orientation)


def write_image(image: sitk.Image, path: Path) -> None:
    """Write a compressed image under a temporary name beside `path`, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".unfinished_{path.name}")
    try:
        sitk.WriteImage(image, str(unfinished), True)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
