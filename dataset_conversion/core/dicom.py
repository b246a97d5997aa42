"""DICOM: exactly one complete CT series per case, its slices sorted by their position in the patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ser_nnunet.dataset_conversion.core.reorientation import TOLERANCE_MM
from ser_nnunet.dataset_conversion.core.source_tree import walk
from ser_nnunet.utils.image_files import check_image_header
from ser_nnunet.utils.regular_files import NotRegularError, regular_size

MODALITY, POSITION = "0008|0060", "0020|0032"


class SeriesError(Exception):
    """A folder that does not hold exactly one complete CT series."""


def list_slices(folder: Path) -> list[Path]:
    """Return the files of the only CT series anywhere below a folder; raises `SeriesError`.

    They are sorted by GDCM along the slices' normal, never by name.
    """
    found = []
    for place in _list_places(folder):
        for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(place):
            files = [Path(name) for name in sitk.ImageSeriesReader.GetGDCMSeriesFileNames(place, uid)]
            if _read_tag(files[0], MODALITY) == "CT":
                found.append(files)
    if len(found) != 1:
        names = ", ".join(files[0].parent.relative_to(folder).as_posix() for files in found)
        raise SeriesError(f"{len(found)} CT series, expected 1{': ' + names if names else ''}")
    return found[0]


def _list_places(folder: Path) -> list[str]:
    """Return the folders that hold files; raises `SeriesError` for what GDCM would wait for or crash on."""
    places = {}
    for path in walk(folder):
        try:
            regular_size(path)
            places[str(path.parent)] = str(path).encode()
        except NotRegularError as error:
            raise SeriesError(f"{path.name}: {error}") from None
        except UnicodeEncodeError:
            raise SeriesError(f"{str(path)!r} isn't in UTF-8, which DICOM readers want: rename it") from None
    return list(places)


def read_series(folder: Path) -> sitk.Image:
    """Read the only CT series below a folder with its geometry; raises `SeriesError`.

    SliceThickness may be empty and SpacingBetweenSlices absent: the spacing along z comes from the slices' positions,
    and every slice must lie where that spacing puts it, so that a missing or doubled slice is found.
    """
    files = list_slices(folder)
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


def _read_position(path: Path) -> np.ndarray:
    """Return where a slice's first voxel lies, `(3,)` in mm; raises `SeriesError` for a slice without a position."""
    text = _read_tag(path, POSITION)
    try:
        position = np.array([float(number) for number in text.split("\\")])
    except ValueError:
        position = np.empty(0)
    if position.shape != (3,) or not np.isfinite(position).all():
        raise SeriesError(
            f"{path.name}: ImagePositionPatient is {text or 'absent'}, expected three numbers in mm; download it again"
        )
    return position


def _read_tag(file: Path, key: str) -> str:
    """Return one tag of a DICOM file without its padding, or "" where it is absent."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.SetImageIO("GDCMImageIO")
    reader.ReadImageInformation()
    return str(reader.GetMetaData(key)).strip() if reader.HasMetaDataKey(key) else ""
