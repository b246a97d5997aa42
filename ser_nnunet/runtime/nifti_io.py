"""Reading and writing NIfTI files with nibabel, where SimpleITK isn't installed, which takes twenty times the space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.recipe import Recipe
from ser_nnunet.runtime.scan import Grid, Scan, different_grids, flat_spacing
from ser_nnunet.utils.image_files import check_image
from ser_nnunet.utils.nifti_header import is_nifti

INSTALL = "python -m pip install SimpleITK"
TEXTS = ("descrip", "aux_file", "db_name", "intent_name")  # of the header: they may name a patient


def read_nifti_scan(paths: Sequence[Path], recipe: Recipe) -> Scan:
    """Return a case's channels as one scan, voxels and spacing as by SimpleITK.

    Args:
        paths: one file per channel of the recipe, in its order.
        recipe: the model's.

    Raises:
        UserError: files of another type, or that can't be read; a model whose images are reoriented or pictures.
    """
    problems = [f"{path.name}: no NIfTI file, needs SimpleITK: {INSTALL}" for path in paths if not is_nifti(path)]
    if recipe.reorient or recipe.pictures:
        problems.append(f"the model's images are reoriented or 2D pictures, which needs SimpleITK: {INSTALL}")
    if problems:
        raise UserError("\n".join(problems))
    images = [_load(path) for path in paths]
    names = [path.name for path in paths]
    problems = [
        f"{name}: {image.ndim} dimensions of the type {image.get_data_dtype()} found, "
        "expected 2 or 3 dimensions and one value per voxel"
        for image, name in zip(images, names, strict=True)
        if image.ndim not in (2, 3) or image.get_data_dtype().fields is not None
    ]
    grids = [_grid(image) for image in images]
    problems = problems or different_grids(grids, names)
    if problems:
        raise UserError("\n".join(problems))
    channels = []
    for image, path in zip(images, paths, strict=True):
        try:
            voxels = image.get_fdata(caching="unchanged", dtype=np.float32).T
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not an image that can be read, perhaps truncated ({error})") from error
        channels.append(voxels if voxels.ndim == 3 else voxels[None])
    spacing = grids[0].spacing[::-1]
    return Scan(np.stack(channels), flat_spacing(spacing) if len(spacing) == 2 else spacing, grids[0])


def _load(path: Path) -> Any:
    import nibabel

    try:
        check_image(path)
        return nibabel.load(path)
    except (OSError, RuntimeError, nibabel.filebasedimages.ImageFileError) as error:
        raise UserError(f"{path}: not an image that can be read, perhaps truncated ({error})") from error


def _grid(image: Any) -> Grid:
    zooms = tuple(abs(float(edge)) for edge in image.header.get_zooms()[: image.ndim])
    affine = np.asarray(image.affine, dtype=float)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / np.where(lengths, lengths, 1)
    return Grid(image.shape, zooms, tuple(affine[:3, 3]), tuple(direction.ravel()), source=image)


def write_nifti_mask(mask: np.ndarray, grid: Grid, path: Path) -> None:
    """Write a mask `(z, y, x)` with the geometry of its image's header, under a temporary name, then rename it."""
    header = grid.source.header.copy()
    header.set_data_dtype(mask.dtype)
    header.set_slope_inter(1, 0)
    header.extensions.clear()
    for name in TEXTS:
        header[name] = b""
    header["cal_max"] = header["cal_min"] = 0  # the range that viewers show
    image = type(grid.source)((mask[0] if len(grid.size) == 2 else mask).T, None, header)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".unfinished_{path.name}")
    try:
        image.to_filename(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
