"""PROMISE12: parts of the release, and case numbers that restart in each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ser_nnunet.dataset_conversion import ConversionError
from ser_nnunet.dataset_conversion.core.data_classes import Options
from ser_nnunet.dataset_conversion.core.source_tree import SourceTree
from ser_nnunet.dataset_conversion.promise12 import find
from tests.dataset_conversion.builders import promise12
from tests.dataset_conversion.helpers import convert_sample


def test_case_numbers_of_promise12_get_their_part_as_prefix(tmp_path: Path):
    report = convert_sample(promise12(tmp_path / "source"), tmp_path / "raw")
    tests = sorted(path.name for path in (report.folder / "imagesTs").iterdir())
    assert tests == ["Live_Case00_0000.nii.gz", "Test_Case00_0000.nii.gz", "Test_Case01_0000.nii.gz"]
    assert sorted(path.name for path in (report.folder / "labelsTs").iterdir())[0] == "Live_Case00.nii.gz"


def test_old_parts_of_promise12_are_training_data(tmp_path: Path):
    sample = promise12(tmp_path / "source")
    (sample.source / "training_data").rename(sample.source / "TrainingData_Part1")
    assert sum(case.split == "train" for case in convert_sample(sample, tmp_path / "raw").cases) == 5


@pytest.mark.parametrize(
    ("folder", "part"),
    [
        ("latest", "Train"),
        ("contest_data", "Train"),
        ("delivery", "Train"),
        ("TrainingData_Part3", "Train"),
        ("test_data", "Test"),
        ("TestData", "Test"),
        ("livechallenge_test_data", "Live"),
        ("LiveTestData", "Live"),
    ],
)
def test_only_whole_words_of_a_folder_say_which_part_of_promise12_it_is(tmp_path: Path, folder: str, part: str):
    source = tmp_path / "source"
    (source / folder).mkdir(parents=True)
    (source / folder / "Case00.mhd").write_bytes(b"")
    assert [case.name for case in find(SourceTree(source), Options()).cases] == [f"{part}_Case00"]


def test_a_source_without_training_cases_is_refused_whatever_is_allowed(tmp_path: Path):
    sample = promise12(tmp_path / "source")
    shutil.rmtree(sample.source / "training_data")
    with pytest.raises(ConversionError, match=r"none of 3 cases is for training\n +-> SOURCE must hold"):
        convert_sample(sample, tmp_path / "raw", allow_partial=True)
