"""What several tests of the converters share: converting a sample data set, hashing folders, MSLesSeg's time points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ser_nnunet.dataset_conversion import ConversionError, ConversionReport, Problem, convert
from ser_nnunet.dataset_conversion.core.data_classes import Case
from ser_nnunet.utils.hashing import file_sha256
from tests.dataset_conversion.builders import SampleDataset

TIME_POINTS = "34432322322424111143121111121121211111111111111122222"
"""Scans of each of MSLesSeg's training patients, P1 to P53 (clinical_data.csv of the release)."""


def convert_sample(sample: SampleDataset, raw: Path, dataset_id: int = 701, **options) -> ConversionReport:
    """Convert a sample data set into `raw` in this process."""
    return convert(
        sample.source, dataset_id, dataset=sample.dataset, raw=raw, processes=1, **{**sample.options, **options}
    )


def find_problems(sample: SampleDataset, raw: Path) -> list[Problem]:
    """Return the fatal problems of a data set that must be refused, and must leave nothing behind."""
    with pytest.raises(ConversionError) as caught:
        convert_sample(sample, raw)
    assert not raw.exists(), "something was left behind"
    for problem in caught.value.problems:
        assert problem.text in str(caught.value)
    return [problem for problem in caught.value.problems if problem.fatal]


def hash_tree(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file by its path below the folder."""
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in folder.rglob("*") if path.is_file()}


def make_case(name: str, patient: str = "", site: str = "", split: str = "train") -> Case:
    """Return a case without files."""
    return Case(name, patient or name, {}, None, split, site)


def mslesseg_cases() -> list[Case]:
    """Return MSLesSeg's 93 training scans: 53 patients, 25 of them with two to four time points."""
    numbers = enumerate(map(int, TIME_POINTS), 1)
    return [make_case(f"P{p}_T{t + 1}", f"P{p}") for p, number in numbers for t in range(number)]


def find_divided_patients(folds: Sequence[Mapping[str, Iterable[str]]], cases: Sequence[Case]) -> set[str]:
    """Return the patients with scans in both training and validation of a fold."""
    patient = {case.name: case.patient for case in cases}
    return {
        name
        for fold in folds
        for name in {patient[each] for each in fold["train"]} & {patient[each] for each in fold["val"]}
    }


def count_label_values(folder: Path, case: str) -> dict[int, int]:
    """Return value -> voxels of a training label that was written."""
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr" / f"{case}.nii.gz")))
    return {int(value): int(count) for value, count in zip(*np.unique(array, return_counts=True), strict=True)}
