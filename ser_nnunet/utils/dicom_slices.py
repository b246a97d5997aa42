"""The slices of one DICOM series: whole, evenly spaced, in their order, with the geometry of their positions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ser_nnunet.utils.dicom_elements import find_overlong_element
from ser_nnunet.utils.image_files import check_image_header
from ser_nnunet.utils.regular_files import NotRegularError, regular_size

POSITION = "0020|0032"
TOLERANCE_MM = 0.05
"""Greatest distance of a slice from its place."""


class SeriesError(Exception):
    """Files that are not exactly one complete DICOM series."""


def check_series_files(paths: Iterable[Path]) -> None:
    """Raise `SeriesError` for paths that GDCM would wait for, crash on or reserve gigabytes for.

    Call it before GDCM sees their folder.
    """
    for path in paths:
        try:
            str(path).encode()
            if not path.is_dir():
                regular_size(path)
                if problem := find_overlong_element(path):
                    raise SeriesError(f"{path.name} is damaged: {problem}")
        except NotRegularError as error:
            raise SeriesError(f"{path.name}: {error}") from None
        except UnicodeEncodeError:
            raise SeriesError(f"{str(path)!r} isn't in UTF-8, which DICOM readers want: rename it") from None


def read_slices(files: Sequence[Path]) -> sitk.Image:
    """Read the slices of a series, in GDCM's order, with its geometry.

    SliceThickness may be empty and SpacingBetweenSlices absent: the spacing along z comes from the slices' positions,
    and every slice must lie where that spacing puts it, so that a missing or doubled slice is found.

    Raises:
        SeriesError: a damaged slice, one without a position, or uneven distances.
    """
    for path in files:
        try:
            check_image_header(path)
        except RuntimeError as error:
            raise SeriesError(f"{path.name}: {str(error).strip().splitlines()[-1].strip()}") from None
    positions = [_read_position(path) for path in files]
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in files])
    image: sitk.Image = reader.Execute()
    for index, (path, position) in enumerate(zip(files, positions, strict=True)):
        off = float(np.linalg.norm(position - image.TransformIndexToPhysicalPoint((0, 0, index))))
        if off > TOLERANCE_MM:
            raise SeriesError(
                f"slices are not evenly spaced: {path.name} is {off:.3g} mm off, tolerance {TOLERANCE_MM} mm; "
                f"is a slice missing?"
            )
    return image


def read_tag(file: Path, key: str) -> str:
    """Return one tag of a DICOM file without its padding, or "" where it is absent."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.SetImageIO("GDCMImageIO")
    reader.ReadImageInformation()
    return str(reader.GetMetaData(key)).strip() if reader.HasMetaDataKey(key) else ""


def _read_position(path: Path) -> np.ndarray:
    """Return where a slice's first voxel lies, `(3,)` in mm; raises `SeriesError` for a slice without a position."""
    text = read_tag(path, POSITION)
    try:
        position = np.array([float(number) for number in text.split("\\")])
    except ValueError:
        position = np.empty(0)
    if position.shape != (3,) or not np.isfinite(position).all():
        raise SeriesError(
            f"{path.name}: ImagePositionPatient is {text or 'absent'}, expected three numbers in mm; download it again"
        )
    return position
