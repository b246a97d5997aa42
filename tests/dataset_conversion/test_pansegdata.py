"""PanSegData: T1 and T2 are never paired; only the header of MCF's T1 labels may be replaced."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ser_nnunet.dataset_conversion import ConversionError, Problem
from ser_nnunet.dataset_conversion.core.data_classes import CaseReport
from ser_nnunet.dataset_conversion.pansegdata import check_wrong_headers
from ser_nnunet.errors import UserError
from tests.dataset_conversion.builders import LABEL, pansegdata
from tests.dataset_conversion.helpers import convert_sample
from tests.dataset_conversion.volumes import image_of, mask, save, scalar_image


def lps_array(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.DICOMOrient(image, "LPS"))


def read_array(file: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


def test_every_case_is_brought_to_lps_whatever_its_orientation(tmp_path: Path):
    """Of six cases, two are stored as LPS, two as RAS, two as PIR; over one of the latter lies a wrong header."""
    sample = pansegdata(tmp_path / "source")
    orientations = dict(zip(sample.cases, ("LPS", "PIR", "RAS", "LPS", "RAS", "PIR"), strict=True))
    for case, role in list(sample.truth):
        sample.add(case, role, sitk.DICOMOrient(sample.truth[case, role], orientations[case]), sample.files[case, role])
    wrong = sitk.GetArrayFromImage(sample.truth["MCF_0002", LABEL])
    save(image_of(wrong, (1, 1, 1), (0, 0, 0)), sample.files["MCF_0002", LABEL])
    report = convert_sample(sample, tmp_path / "raw")
    record = json.loads((report.folder / "conversion.json").read_text())["cases"]
    for case, orientation in orientations.items():
        image, label = (report.folder / entry["file"] for entry in record[case]["files"])
        assert np.array_equal(read_array(image), lps_array(sample.truth[case, "T1"]))
        assert np.array_equal(read_array(label), lps_array(sample.truth[case, LABEL]).round())
        reordered = [change for change in record[case]["files"][0]["changes"] if change.startswith("axes reordered")]
        expected = f"axes reordered from {orientation} to LPS, as in every case of this data set"
        assert reordered == ([] if orientation == "LPS" else [expected])
    assert not [note for note in report.notes if note.kind == "orientation"]
    assert "stored in LPS order" in json.loads((report.folder / "dataset.json").read_text())["notes"][0]


def test_scans_without_labels_are_brought_to_lps_too(tmp_path: Path):
    scan = image_of(scalar_image(90))
    save(sitk.DICOMOrient(scan, "PIR"), tmp_path / "scans/X_0001_0000.nii.gz")
    sample = pansegdata(tmp_path / "source")
    report = convert_sample(sample, tmp_path / "raw", unlabelled=tmp_path / "scans")
    assert np.array_equal(read_array(report.folder / "imagesTr/X_0001_0000.nii.gz"), sitk.GetArrayFromImage(scan))


def test_wrong_header_of_an_mcf_t1_label_is_replaced_and_named(tmp_path: Path):
    report = convert_sample(pansegdata(tmp_path / "source"), tmp_path / "raw")
    named = [note for note in report.notes if note.kind == "wrong header"]
    assert [note.case for note in named] == ["MCF_0002"]
    record = json.loads((report.folder / "conversion.json").read_text())["cases"]["MCF_0002"]["files"][1]
    assert any(change.startswith("wrong header replaced by the image's") for change in record["changes"])


@pytest.mark.parametrize("header_is_right", [True, False])
def test_an_mcf_t1_label_stored_in_another_axis_order_keeps_its_place(tmp_path: Path, header_is_right: bool):
    """A right header is followed; under a wrong one the array is the image's, voxel by voxel."""
    sample = pansegdata(tmp_path / "source")
    truth = sample.truth["MCF_0002", LABEL]
    stored = sitk.DICOMOrient(truth, "RPI")
    if not header_is_right:
        stored = image_of(sitk.GetArrayFromImage(truth), (1, 1, 1), (0, 0, 0), stored.GetDirection())
    save(stored, sample.files["MCF_0002", LABEL])
    report = convert_sample(sample, tmp_path / "raw")
    assert np.array_equal(read_array(report.folder / "labelsTr" / "MCF_0002.nii.gz"), lps_array(truth).round())
    assert any(note.kind == "wrong header" for note in report.notes) != header_is_right


def test_wrong_header_of_an_mcf_t2_label_is_refused(tmp_path: Path):
    sample = pansegdata(tmp_path / "source", "T2")
    save(image_of(mask(50), (1, 1, 1), (0, 0, 0)), sample.files["MCF_0002", LABEL])
    with pytest.raises(ConversionError, match=r"MCF_0002: MCF_0002\.nii\.gz against .*tolerance"):
        convert_sample(sample, tmp_path / "raw")


def test_more_wrong_headers_than_are_known_are_refused():
    header = Problem("wrong header", "", "", fatal=False)
    cases = [CaseReport(f"MCF_{number}", problems=[header]) for number in range(67)]
    assert not list(check_wrong_headers(cases[:66]))
    assert [problem.fatal for problem in check_wrong_headers(cases)] == [True]


@pytest.mark.parametrize("channels", [None, ["T1", "T2"], ["FLAIR"]])
def test_t1_and_t2_of_pansegdata_are_never_paired(tmp_path: Path, channels: list[str] | None):
    with pytest.raises(UserError, match="--channels T1 or --channels T2"):
        convert_sample(pansegdata(tmp_path / "source"), tmp_path / "raw", channels=channels)
