"""Folds by patient and site, and what counts as too few cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from nnunetv2.utilities.crossval_split import generate_crossval_split
from ser_nnunet.dataset_conversion import ConversionError, convert, promise12
from ser_nnunet.dataset_conversion.core.cohort_checks import counts
from ser_nnunet.dataset_conversion.core.data_classes import Case, Description
from ser_nnunet.dataset_conversion.core.splits import grouped_splits

from tests.dataset_conversion.builders import promise12 as promise12_toy


def case(name: str, patient: str = "", site: str = "", split: str = "train") -> Case:
    return Case(name, patient or name, {}, None, split, site)


TIME_POINTS = "34432322322424111143121111121121211111111111111122222"
"""Scans of each of MSLesSeg's training patients, P1 to P53 (clinical_data.csv of the release)."""


def mslesseg_cases() -> list[Case]:
    """MSLesSeg's 93 training scans: 53 patients, 25 of them with two to four time points."""
    numbers = enumerate(map(int, TIME_POINTS), 1)
    return [case(f"P{p}_T{t + 1}", f"P{p}") for p, number in numbers for t in range(number)]


def torn_apart(folds: Sequence[Mapping[str, Iterable[str]]], cases: Sequence[Case]) -> set[str]:
    """Patients with scans on both sides of a fold."""
    patient = {case.name: case.patient for case in cases}
    return {
        name
        for fold in folds
        for name in {patient[each] for each in fold["train"]} & {patient[each] for each in fold["val"]}
    }


def test_folds_of_mslesseg_sizes_are_even_and_tear_no_patient_apart():
    cases = mslesseg_cases()
    folds = grouped_splits(cases)
    assert sorted(len(fold["val"]) for fold in folds) == [18, 18, 19, 19, 19]
    assert all(len(fold["train"]) + len(fold["val"]) == 93 for fold in folds) and not torn_apart(folds, cases)
    assert grouped_splits(cases[::-1]) == folds


def test_nnunets_own_split_would_tear_every_patient_with_several_scans_apart():
    cases = mslesseg_cases()
    theirs = generate_crossval_split(sorted(case.name for case in cases), seed=12345, n_splits=5)
    assert len(torn_apart(theirs, cases)) == 25
    assert not torn_apart(grouped_splits(cases), cases)


def test_every_fold_has_its_share_of_every_site():
    sizes = {"RUNMC": 30, "BMC": 30, "I2CVB": 19, "UCL": 13, "BIDMC": 12, "HK": 12}
    cases = [case(f"{site}_{index}", site=site) for site, size in sizes.items() for index in range(size)]
    folds = grouped_splits(cases)
    for site, size in sizes.items():
        shares = [sum(name.startswith(f"{site}_") for name in fold["val"]) for fold in folds]
        assert max(shares) - min(shares) <= 1 and sum(shares) == size
    assert max(len(fold["val"]) for fold in folds) - min(len(fold["val"]) for fold in folds) <= 1


def test_two_patients_make_two_folds_and_one_makes_none():
    cases = [case("a1", "a"), case("a2", "a"), case("b1", "b")]
    assert sorted(fold["val"] for fold in grouped_splits(cases)) == [["a1", "a2"], ["b1"]]
    assert grouped_splits(cases[:2]) == []


@pytest.mark.parametrize(
    ("train", "test", "allow", "fatal"),
    [
        (93, 22, False, []),
        (92, 22, False, [True]),
        (92, 22, True, [False]),
        (93, 21, False, [True]),
        (93, 0, False, [False]),
        (11, 0, False, [False, False]),
        (12, 0, False, [True, False]),
        (94, 22, False, [False]),
        (0, 22, True, [True, False]),
        (0, 0, True, [True, False, False]),
    ],
)
def test_what_counts_as_too_few(train: int, test: int, allow: bool, fatal: list[bool]):
    description = Description("x", "", "", "", "", {}, {}, {}, {"train": 93, "test": 22})
    cases = [case(f"a{i}") for i in range(train)] + [case(f"b{i}", split="test") for i in range(test)]
    found = list(counts(cases, description, [], allow))
    assert [problem.fatal for problem in found] == fatal


def test_a_download_that_broke_off_is_refused_and_a_sample_is_not(tmp_path: Path, monkeypatch):
    toy = promise12_toy(tmp_path / "source")
    options = {"dataset": "promise12", "raw": tmp_path / "raw", "processes": 1}
    monkeypatch.setattr(promise12, "DESCRIPTION", replace(promise12.DESCRIPTION, counts={"train": 10}))
    with pytest.raises(ConversionError, match=r"train: 5 of the official 10 cases(?s:.*)--allow-partial"):
        convert(toy.source, 707, **options)
    assert not (tmp_path / "raw").exists()
    for dataset_id, official, partial in ((707, 10, True), (708, 50, False)):
        monkeypatch.setattr(promise12, "DESCRIPTION", replace(promise12.DESCRIPTION, counts={"train": official}))
        report = convert(toy.source, dataset_id, allow_partial=partial, **options)
        assert [note.text for note in report.notes] == [f"train: 5 of the official {official} cases"]
        assert len(list((report.folder / "labelsTr").iterdir())) == 5


def test_cases_left_out_by_name_are_not_missing():
    description = Description("x", "", "", "", "", {}, {}, {}, {"train": 20})
    cases = [case(f"a{i}") for i in range(20)]
    assert not list(counts(cases[1:], description, cases[:1], False))
