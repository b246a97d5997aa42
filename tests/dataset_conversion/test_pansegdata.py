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
from tests.dataset_conversion.volumes import image_of, mask, save


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
    written = sitk.ReadImage(str(report.folder / "labelsTr" / "MCF_0002.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(truth).round())
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
