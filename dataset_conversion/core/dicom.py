"""DICOM: exactly one complete CT series per case, its slices sorted by their position in the patient."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from ser_nnunet.dataset_conversion.core.source_tree import walk
from ser_nnunet.utils.dicom_slices import SeriesError, check_series_files, read_slices, read_tag

MODALITY = "0008|0060"


def list_slices(folder: Path) -> list[Path]:
    """Return the files of the only CT series anywhere below a folder; raises `SeriesError`.

    They are sorted by GDCM along the slices' normal, never by name.
    """
    paths = list(walk(folder))
    check_series_files(paths)
    found = []
    for place in dict.fromkeys(str(path.parent) for path in paths):
        for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(place):
            files = [Path(name) for name in sitk.ImageSeriesReader.GetGDCMSeriesFileNames(place, uid)]
            if read_tag(files[0], MODALITY) == "CT":
                found.append(files)
    if len(found) != 1:
        names = ", ".join(files[0].parent.relative_to(folder).as_posix() for files in found)
        raise SeriesError(f"{len(found)} CT series, expected 1{': ' + names if names else ''}")
    return found[0]


def read_series(folder: Path) -> sitk.Image:
    """Read the only CT series below a folder, as `read_slices` does; raises `SeriesError`."""
    return read_slices(list_slices(folder))
