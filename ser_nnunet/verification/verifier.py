"""The steps of a verification: the table of cases, the checks of every case, the checks across cases and folds."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ser_nnunet import __version__
from ser_nnunet.dataset_conversion.core.case_checks import check_case
from ser_nnunet.dataset_conversion.core.cohort_checks import find_duplicates, find_patients_in_train_and_test
from ser_nnunet.dataset_conversion.core.ct_values import (
    HounsfieldUnitsCheck,
    find_ct_channels,
    find_odd_hounsfield_values,
)
from ser_nnunet.dataset_conversion.core.data_classes import Case, CaseReport, Problem
from ser_nnunet.dataset_conversion.core.grid_oddities import find_odd_grids
from ser_nnunet.dataset_conversion.core.mask_position import MaskPositionCheck
from ser_nnunet.dataset_conversion.core.pipeline import shorten_paths
from ser_nnunet.dataset_conversion.core.standardize import REORDERING_READERS
from ser_nnunet.dataset_conversion.core.workers import map_cases
from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.patients import Patients, find_patients
from ser_nnunet.verification.finding_kinds import ADVICE
from ser_nnunet.verification.fold_checks import (
    check_random_folds,
    check_splits,
    find_splits,
    group_by_pattern,
    read_splits,
)
from ser_nnunet.verification.raw_dataset import RawDataset, find_raw_dataset, read_raw_dataset
from ser_nnunet.verification.verification_result import Verification, sort_findings

PACKAGES = ("nnunetv2", "numpy", "SimpleITK", "nibabel")


def verify(
    dataset: str | Path,
    *,
    patients: str | None = None,
    groups: Path | None = None,
    accept: Sequence[str] = (),
    processes: int | None = None,
) -> Verification:
    """Run the converters' checks on a data set in nnU-Net's raw format; nothing is written or changed.

    Args:
        dataset: nnU-Net's id, a name in nnUNet_raw, or the path of a `DatasetXXX_Name` folder.
        patients: regular expression for the beginning of case names; its first group, else what it matches, is the
            patient. By default they are taken from `conversion.json`, and without that every case is a patient.
        groups: JSON, CSV or TSV that names the patients, as of `evaluate`.
        accept: kinds of findings that are warnings and no errors, such as `empty mask`.
        processes: number of processes; all cores that memory allows by default.

    Returns:
        All errors and warnings.

    Raises:
        UserError: there is no such data set, its dataset.json or splits_final.json can't be used, or a wrong option.
    """
    if unknown := [kind for kind in accept if kind not in ADVICE]:
        raise UserError(f"--accept {', '.join(unknown)}: choose among {', '.join(ADVICE)}")
    if patients is not None and groups is not None:
        raise UserError("--patients and --groups both name the patients: give one of them")
    raw = read_raw_dataset(find_raw_dataset(str(dataset)))
    if not raw.table.cases and not raw.table.without_images:
        raise UserError(f"{raw.folder}: imagesTr holds no file that ends in {raw.labels.file_ending}")
    source, ungrouped = assign_patients(raw, patients, groups)
    splits = find_splits(raw.folder)
    folds = read_splits(splits) if splits else None
    cases = [*raw.table.cases, *raw.table.without_images]
    cases.sort(key=lambda case: case.name)
    position = MaskPositionCheck(raw.labels.ignore)
    info = replace(raw.table.info, case_checks=(position,))
    reports = map_cases(partial(check_case, info=info), cases, processes, "verifying")
    problems = [*raw.table.problems, *ungrouped]
    problems += [shorten_paths(problem, raw.tree) for report in reports for problem in report.problems]
    problems += check_across_cases(raw, reports)
    train = [case for case in raw.table.cases if case.split == "train"]
    names, of_case = [case.name for case in train], {case.name: case.patient for case in train}
    if splits is None:
        problems += check_random_folds(names, of_case)
    else:
        problems += check_splits(folds or [], names, of_case, splits.name)
    about = describe_verification(raw, reports, source, splits)
    return Verification(about, sort_findings(problems, accept), list_pictured_files(cases))


def assign_patients(raw: RawDataset, pattern: str | None, groups: Path | None) -> tuple[str | None, list[Problem]]:
    """Set the patient of every case; return what names them, and a warning of cases that it does not name.

    These count as patients of their own, and so does every case where nothing names the patients (None).
    """
    names = {case.name: case.patient for case in raw.table.cases}  # as the files call them
    cases = list(dict.fromkeys(names.values()))
    problems: list[Problem] = []
    if pattern is not None:
        found, source = group_by_pattern(cases, pattern), f"--patients {pattern}"
    else:
        given: Patients = find_patients(cases, raw.folder / "labelsTr", raw.labels, groups)
        if given.problems and groups is not None:
            raise UserError("\n".join(given.problems))
        if given.source is None:
            raw.table.cases = [replace(case, patient=case.name) for case in raw.table.cases]
            return None, []
        found, source = {case: patient or case for case, patient in given.of_case.items()}, given.source.name
        text = "; each of them counts as a patient of its own"
        problems = [Problem("patients", "", f"{problem}{text}", fatal=False) for problem in given.problems]
    raw.table.cases = [replace(case, patient=found[names[case.name]]) for case in raw.table.cases]
    return source, problems


def check_across_cases(raw: RawDataset, reports: Sequence[CaseReport]) -> list[Problem]:
    """Run the checks across cases, those of CT where a channel is CT."""
    patients = {case.name: case.patient for case in raw.table.cases}
    problems = [*find_duplicates(reports, patients), *find_patients_in_train_and_test(raw.table.cases)]
    problems += find_odd_grids(reports, reordered=raw.reader in REORDERING_READERS)
    ct_channels = find_ct_channels(raw.table.info)
    problems += HounsfieldUnitsCheck(ct_channels)(reports)
    if ct_channels and next(iter(raw.table.info.channels)) == ct_channels[0]:
        problems += find_odd_hounsfield_values(reports)
    return problems


def describe_verification(
    raw: RawDataset, reports: Sequence[CaseReport], source: str | None, splits: Path | None
) -> dict[str, Any]:
    """Return `Verification.about`."""
    train = [case for case in raw.table.cases if case.split == "train"]
    return {
        "dataset": raw.folder.absolute().name,
        "folder": str(raw.folder.resolve()),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "training_cases": len(train),
        "test_cases": len(raw.table.cases) - len(train),
        "unannotated_cases": sum(any(facts.is_unannotated for facts in report.facts) for report in reports),
        "patients": len({case.patient for case in raw.table.cases}),
        "patients_by": source,
        "splits": str(splits.resolve()) if splits else None,
        "channels": list(raw.table.info.channels),
        "classes": list(raw.labels.classes),
        "reader": raw.reader,
        "versions": {
            "ser-nnunet": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
    }


def list_pictured_files(cases: Sequence[Case]) -> dict[str, tuple[Path | None, Path | None]]:
    """Return case -> file of the first channel and of the label."""
    return {
        case.name: (
            next((volume.path for volume in case.images.values()), None),
            case.label.path if case.label else None,
        )
        for case in cases
    }
