"""NIH Pancreas-CT: withdrawn scans, and a real DICOM series with its label."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from ser_nnunet.dataset_conversion import ConversionError, convert
from tests.dataset_conversion.builders import pancreas_dicom
from tests.dataset_conversion.helpers import convert_sample, find_problems
from tests.dataset_conversion.volumes import save


def test_withdrawn_nih_scans_of_an_old_copy_are_left_out(tmp_path: Path):
    sample = pancreas_dicom(tmp_path / "source")
    old = sample.source / "Pancreas-CT" / "PANCREAS_0025" / "study" / "series"
    save(sample.truth["PANCREAS_0002", "CT"], old)
    report = convert_sample(sample, tmp_path / "raw")
    assert "PANCREAS_0025" not in {case.name for case in report.cases}
    assert "0025 is reported to duplicate another scan" in str(report.notes)


@pytest.mark.data
@pytest.mark.slow
def test_real_ct_series_keeps_its_place_in_the_world(real_data: Path, tmp_path: Path):
    source = real_data / "nih_pancreas_ct"
    report = convert(source, 810, dataset="pancreas-ct", raw=tmp_path, processes=1)
    image = sitk.ReadImage(str(report.folder / "imagesTr/PANCREAS_0002_0000.nii.gz"))
    label = sitk.ReadImage(str(report.folder / "labelsTr/PANCREAS_0002.nii.gz"))
    for path in sorted(source.rglob("*.dcm"))[::40]:
        assert_slice_equal(pydicom.dcmread(path), image)
    inside = sitk.GetArrayViewFromImage(image)[sitk.GetArrayViewFromImage(label) > 0]
    assert 50 < inside.mean() < 150 and (inside < -200).mean() < 0.01


def assert_slice_equal(slice_: pydicom.Dataset, image: sitk.Image) -> None:
    """Random pixels of a slice, put into the world by the DICOM standard's own formula."""
    origin, spacing = np.array(slice_.ImagePositionPatient, float), np.array(slice_.PixelSpacing, float)
    along_row, along_column = np.reshape(np.array(slice_.ImageOrientationPatient, float), (2, 3))
    for row, column in np.random.default_rng(0).integers(0, 512, (50, 2)).tolist():
        point = origin + along_row * spacing[1] * column + along_column * spacing[0] * row
        index = image.TransformPhysicalPointToIndex(point.tolist())
        assert image.GetPixel(index) == slice_.pixel_array[row, column]


@pytest.mark.data
@pytest.mark.slow
def test_a_flipped_real_label_is_refused(real_data: Path, tmp_path: Path):
    source = tmp_path / "source"
    shutil.copytree(real_data / "nih_pancreas_ct", source)
    path = next(source.rglob("label0002.nii.gz"))
    label = sitk.ReadImage(str(path))
    for axis in range(3):
        array = np.flip(sitk.GetArrayFromImage(label), axis).copy()
        flipped = sitk.GetImageFromArray(array)
        flipped.CopyInformation(label)
        save(flipped, path)
        with pytest.raises(ConversionError, match=r"label0002\.nii\.gz: .*flipped along"):
            convert(source, 810, dataset="pancreas-ct", raw=tmp_path / "raw", processes=1)


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
@pytest.mark.parametrize("kind", ["a pipe", "65535 rows", "no UTF-8", "a link to the folder above"])
def test_a_series_that_its_reader_would_wait_for_or_crash_on_is_refused(tmp_path: Path, kind: str):
    sample = pancreas_dicom(tmp_path / "source")
    folder = sample.files[sample.cases[0], sample.roles[0]]
    first = sorted(folder.rglob("*.dcm"))[0]
    if kind == "a pipe":
        os.mkfifo(first.parent / "1-999.dcm")
    elif kind == "65535 rows":
        for file in sorted(folder.rglob("*.dcm")):
            slice_ = pydicom.dcmread(file)
            slice_.Rows = slice_.Columns = 65535
            slice_.save_as(file)
    elif kind == "no UTF-8":
        first.rename(first.parent / "1-\udcff.dcm")
    else:
        (first.parent / "again").symlink_to(first.parent)
        convert_sample(sample, tmp_path / "raw")
        return
    problems = find_problems(sample, tmp_path / "raw")
    assert {problem.kind for problem in problems} == {"series"}
    expected = {"a pipe": "a pipe", "65535 rows": "declares 65535 x 65535", "no UTF-8": "isn't in UTF-8"}[kind]
    assert expected in problems[0].text
