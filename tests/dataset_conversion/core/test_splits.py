"""Folds for cross-validation: by patient, of even sizes, with every site in each."""

from __future__ import annotations

from nnunetv2.utilities.crossval_split import generate_crossval_split

from ser_nnunet.dataset_conversion.core.splits import split_by_patient
from tests.dataset_conversion.helpers import find_divided_patients, make_case, mslesseg_cases


def test_folds_of_mslesseg_are_of_even_sizes_and_divide_no_patient():
    cases = mslesseg_cases()
    folds = split_by_patient(cases)
    assert sorted(len(fold["val"]) for fold in folds) == [18, 18, 19, 19, 19]
    assert all(len(fold["train"]) + len(fold["val"]) == 93 for fold in folds) and not find_divided_patients(
        folds, cases
    )
    assert split_by_patient(cases[::-1]) == folds


def test_nnunets_own_split_would_divide_every_patient_with_several_scans():
    cases = mslesseg_cases()
    theirs = generate_crossval_split(sorted(case.name for case in cases), seed=12345, n_splits=5)
    assert len(find_divided_patients(theirs, cases)) == 25
    assert not find_divided_patients(split_by_patient(cases), cases)


def test_every_fold_has_its_share_of_every_site():
    sizes = {"RUNMC": 30, "BMC": 30, "I2CVB": 19, "UCL": 13, "BIDMC": 12, "HK": 12}
    cases = [make_case(f"{site}_{index}", site=site) for site, size in sizes.items() for index in range(size)]
    folds = split_by_patient(cases)
    for site, size in sizes.items():
        shares = [sum(name.startswith(f"{site}_") for name in fold["val"]) for fold in folds]
        assert max(shares) - min(shares) <= 1 and sum(shares) == size
    assert max(len(fold["val"]) for fold in folds) - min(len(fold["val"]) for fold in folds) <= 1


def test_two_patients_make_two_folds_and_one_makes_none():
    cases = [make_case("a1", "a"), make_case("a2", "a"), make_case("b1", "b")]
    assert sorted(fold["val"] for fold in split_by_patient(cases)) == [["a1", "a2"], ["b1"]]
    assert split_by_patient(cases[:2]) == []
