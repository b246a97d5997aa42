"""The real files: headers, DICOM and labels as they are downloaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from ser_nnunet.dataset_conversion import ConversionError, convert

from tests.dataset_conversion.test_splits_and_counts import mslesseg_cases
from tests.dataset_conversion.volumes import image_of, save

pytestmark = pytest.mark.data


def test_real_mslesseg_headers(real_data: Path, tmp_path: Path):
    source = real_data / "mslesseg"
    with pytest.raises(ConversionError, match=r"1 problem, nothing(?s:.*)P18_T1: .* lacks T2"):
        convert(source, 801, dataset="mslesseg", raw=tmp_path, processes=1)
    assert not list(tmp_path.iterdir())
    report = convert(source, 801, dataset="mslesseg", channels=["FLAIR", "T1"], raw=tmp_path, processes=1)
    assert {"P14_T2", "P14_T3"} in [set(fold["val"]) for fold in report.splits]
    image = "P18/T1/P18_T1_FLAIR.nii.gz"
    assert (report.folder / "imagesTr/P18_T1_0000.nii.gz").read_bytes() == (source / "train" / image).read_bytes()
    label = sitk.ReadImage(str(report.folder / "labelsTr/P18_T1.nii.gz"))
    assert label.GetPixelID() == sitk.sitkUInt8 and int(sitk.GetArrayViewFromImage(label).sum()) == 770


def test_the_time_points_assumed_for_the_folds_are_the_real_ones(real_data: Path):
    rows = (real_data / "mslesseg/info_dataset/clinical_data.csv").read_text(encoding="utf-8-sig").splitlines()
    scans = ["_".join(row.split(";")[:2]) for row in rows if row.startswith("P") and row[1].isdigit()]
    assert {name for name in scans if int(name.split("_")[0][1:]) < 54} == {case.name for case in mslesseg_cases()}


def test_real_hippocampus_is_complete(real_data: Path, tmp_path: Path):
    report = convert(real_data / "hippocampus", 804, dataset="msd", raw=tmp_path, processes=1)
    assert len(report.cases) == 180 and not report.notes
    copied = report.folder / "imagesTr" / "hippocampus_004_0000.nii.gz"
    assert copied.read_bytes() == (real_data / "hippocampus/imagesTr/hippocampus_004.nii.gz").read_bytes()


@pytest.mark.slow
def test_real_ct_series_keeps_its_place_in_the_world(real_data: Path, tmp_path: Path):
    source = real_data / "nih_pancreas_ct"
    report = convert(source, 810, dataset="pancreas-ct", raw=tmp_path, processes=1)
    image = sitk.ReadImage(str(report.folder / "imagesTr/PANCREAS_0002_0000.nii.gz"))
    label = sitk.ReadImage(str(report.folder / "labelsTr/PANCREAS_0002.nii.gz"))
    for path in sorted(source.rglob("*.dcm"))[::40]:
        _assert_slice_equal(pydicom.dcmread(path), image)
    inside = sitk.GetArrayViewFromImage(image)[sitk.GetArrayViewFromImage(label) > 0]
    assert 50 < inside.mean() < 150 and (inside < -200).mean() < 0.01


def _assert_slice_equal(slice_: pydicom.Dataset, image: sitk.Image) -> None:
    """Random pixels of a slice, put into the world by the DICOM standard's own formula."""
    origin, spacing = np.array(slice_.ImagePositionPatient, float), np.array(slice_.PixelSpacing, float)
    along_row, along_column = np.reshape(np.array(slice_.ImageOrientationPatient, float), (2, 3))
    for row, column in np.random.default_rng(0).integers(0, 512, (50, 2)).tolist():
        point = origin + along_row * spacing[1] * column + along_column * spacing[0] * row
        index = image.TransformPhysicalPointToIndex(point.tolist())
        assert image.GetPixel(index) == slice_.pixel_array[row, column]


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


def test_real_prostate_labels_and_geometries(real_data: Path, tmp_path: Path):
    source = prostate_task(real_data / "msd_prostate", tmp_path / "Task05_Prostate")
    report = convert(source, 805, dataset="msd", classes="regions", raw=tmp_path / "raw", processes=1)
    assert len(report.cases) == len(list((report.folder / "labelsTr").iterdir())) == 32
    absent = {note.case for note in report.notes if note.kind == "class absent"}
    assert absent == {"prostate_18", "prostate_32"}
    for path in sorted((report.folder / "labelsTr").iterdir()):
        label, original = sitk.ReadImage(str(path)), sitk.ReadImage(str(source / "labelsTr" / path.name))
        assert np.array_equal(sitk.GetArrayViewFromImage(label), sitk.GetArrayViewFromImage(original))
        for channel in (0, 1):
            name = path.name.replace(".nii.gz", f"_{channel:04d}.nii.gz")
            image = sitk.ReadImage(str(report.folder / "imagesTr" / name))
            for part in ("GetOrigin", "GetSpacing", "GetDirection"):
                assert np.allclose(getattr(image, part)(), getattr(label, part)()), "nnU-Net would warn"
                assert np.allclose(getattr(image, part)(), getattr(original, part)(), atol=1e-4)


def prostate_task(real: Path, home: Path) -> Path:
    """Task05 with its 32 real labels and image geometries, and invented intensities that pack quickly."""
    home.mkdir()
    (home / "labelsTr").mkdir()
    shutil.copyfile(real / "dataset.json", home / "dataset.json")
    geometries = json.loads((real / "image_geometry_from_nnunet_v1.json").read_text())
    for case, geometry in geometries.items():
        shutil.copyfile(real / "labelsTr" / f"{case}.nii.gz", home / "labelsTr" / f"{case}.nii.gz")
        size = geometry["image_size_zyx"]
        ramps = [100 * int(case[-2:]) + 50 * channel + np.indices(size, np.int16).sum(0) for channel in range(2)]
        parts = (geometry["image_spacing_xyz"], geometry["image_origin"], geometry["image_direction"])
        save(image_of(np.stack(ramps).astype(np.int16), *parts), home / "imagesTr" / f"{case}.nii.gz")
    return home
