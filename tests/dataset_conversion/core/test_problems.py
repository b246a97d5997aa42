"""The message of a data set that is refused: every problem once, by kind, with advice, notes last."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_nnunet.dataset_conversion import ConversionError, ConversionReport, Problem
from tests.dataset_conversion.builders import LABEL, mslesseg
from tests.dataset_conversion.helpers import convert_sample


def test_problems_are_grouped_by_kind_with_advice_and_notes_come_last():
    problems = [
        Problem("folds", "", "2 patients make 2 folds", fatal=False),
        Problem("unreadable", "P2", "P2.nii.gz: no image"),
        Problem("empty mask", "P3", "P3.nii.gz has no foreground voxel"),
        Problem("unreadable", "P1", "P1.nii.gz: no image"),
    ]
    lines = str(ConversionError(problems)).splitlines()
    assert lines[0] == "3 problems, nothing was written"
    assert lines[1:3] == ["  empty mask (1)", "    P3: P3.nii.gz has no foreground voxel"]
    assert lines[3].startswith("    -> this data set has no cases without foreground")
    assert lines[4:7] == ["  unreadable (2)", "    P1: P1.nii.gz: no image", "    P2: P2.nii.gz: no image"]
    assert lines[7].startswith("    -> download the file again")
    assert lines[8:] == ["also noted", "  folds (1)", "    2 patients make 2 folds"]


def test_a_data_set_gives_advice_for_the_problems_that_only_its_own_checks_report(tmp_path: Path):
    sample = mslesseg(tmp_path / "source")
    sample.change("P3_T1", LABEL, lambda array: array * (array.cumsum().reshape(array.shape) > 1))
    with pytest.raises(ConversionError, match="-> the mask is not the one of the release; download it again"):
        convert_sample(sample, tmp_path / "raw")


def test_the_report_of_a_refused_data_set_lists_its_cases(tmp_path: Path):
    sample = mslesseg(tmp_path / "source")
    sample.files["P3_T1", LABEL].unlink()
    with pytest.raises(ConversionError) as caught:
        convert_sample(sample, tmp_path / "raw")
    report = caught.value.report
    assert isinstance(report, ConversionReport) and report.folder is None
    assert {case.name for case in report.cases} == set(sample.cases)
