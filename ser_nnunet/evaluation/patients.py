"""Which scans belong to one patient: they are resampled and tested together, because they are not independent."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from ser_nnunet.evaluation.case_files import list_cases
from ser_nnunet.evaluation.labels import Labels
from ser_nnunet.nnunet.paths import RAW, nnunet_folder
from ser_nnunet.utils.files import LARGEST_JSON, read_json
from ser_nnunet.utils.printable import counted
from ser_nnunet.utils.regular_files import read_text

DELIMITERS = (",", ";", "\t")
"""Of tables: spreadsheets write a semicolon where the comma is the decimal mark."""
CONVERSION = "conversion.json"  # written by `ser-nnunet convert` beside dataset.json


@dataclass(frozen=True)
class Patients:
    """The patient of every case.

    Attributes:
        of_case: case -> patient.
        source: the file that names them; None where every case counts as a patient of its own.
        problems: what is wrong with the source, in sentences; `of_case` must not be used then.
    """

    of_case: Mapping[str, str]
    source: Path | None = None
    problems: Sequence[str] = ()


def find_patients(cases: Sequence[str], reference: Path, labels: Labels, given: Path | None = None) -> Patients:
    """Return the patient of every case: from the given file, from `conversion.json`, or one patient per case.

    `conversion.json` is looked for in the reference folder, its parent, beside dataset.json, and in nnUNet_raw's folder
    of the data set, if the parent is called like a data set there (as that of gt_segmentations is). A file that names
    none of the cases is passed over. Folds grouped by patient in splits_final.json do not tell which patients they are.

    Args:
        cases: that are evaluated; all of them need a patient.
        reference: folder of the reference segmentations.
        labels: read from dataset.json.
        given: JSON (`{"case": "patient"}`), or CSV or TSV with the columns `case` and `patient`; may name other
            cases, too.
    """
    if given is not None:
        rows, problems = read_groups(given)
        return _collect(rows, cases, given, problems)
    parent, raw = reference.resolve().parent, nnunet_folder(RAW)
    folders = [reference, parent, labels.file.parent, *([raw / parent.name] if raw else [])]
    for file in (folder / CONVERSION for folder in folders):
        named = _read_conversion(file) if file.is_file() else {}
        if not set(cases).isdisjoint(named):
            return _collect(named.items(), cases, file, [])
    return Patients({case: case for case in cases})


def read_groups(file: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the rows `(case, patient)` of a file, spaces around the names removed, and what is wrong with the file."""
    try:
        text = read_text(file, LARGEST_JSON, "utf-8-sig")
        if file.suffix.lower() == ".json":
            rows = [(case, patient) for case, patient in json.loads(text, object_pairs_hook=list)]
            if any(isinstance(patient, list | dict | None) for _, patient in rows):
                raise ValueError("a patient is not a name")
        else:
            lines = text.splitlines()
            tables = [csv.DictReader(lines, delimiter=delimiter) for delimiter in DELIMITERS]
            fitting = [table for table in tables if {"case", "patient"} <= set(table.fieldnames or ())]
            if not fitting:
                raise ValueError(f"its first line is {(lines or [''])[0][:100]!r}")
            rows = [(row["case"] or "", row["patient"] or "") for row in fitting[0]]
    except (OSError, ValueError, TypeError, RecursionError, csv.Error) as error:  # of Python 3.10: a NUL
        expected = 'JSON {"case": "patient"}, or CSV or TSV with the columns case and patient'
        reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        return [], [f"{file}: {expected} expected ({reason})"]
    return [(str(case).strip(), str(patient).strip()) for case, patient in rows], []


def describe_patients(patients: Mapping[str, Any]) -> str:
    """Return `Evaluation.about["patients"]` in a sentence."""
    scans, count, source = patients["scans"], patients["patients"], patients["source"]
    if source is None:
        return f"{counted(scans, 'scan')}, each counted as a patient (no --groups file and no {CONVERSION})"
    return f"{counted(scans, 'scan')} of {counted(count, 'patient')} (patients named by {short_source(source)})"


def short_source(source: str) -> str:
    """Return the name of the file that names the patients, and of conversion.json's data set: tables are shared."""
    file = PureWindowsPath(source)  # which understands both kinds of paths
    return f"{file.parent.name}/{CONVERSION}" if file.name == CONVERSION else file.name


def _read_conversion(file: Path) -> dict[str, str]:
    """Return case -> patient as `ser-nnunet convert` has written it; empty for another program's file."""
    try:
        return {case: str(record["patient"]) for case, record in read_json(file)["cases"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _collect(rows: Iterable[tuple[str, str]], cases: Sequence[str], source: Path, problems: list[str]) -> Patients:
    """Return the patients of the cases, and all problems of the rows."""
    of_case: dict[str, str] = {}
    twice: set[str] = set()
    for case, patient in rows:
        twice |= {case} if of_case.setdefault(case, patient) != patient else set()
    problems += list_cases(sorted(twice), f"{source}: several patients for")
    if of_case or not problems:  # otherwise the file could not be read
        absent = [case for case in cases if not of_case.get(case)]
        problems += list_cases(absent, f"{source}: no patient for")
    return Patients({case: of_case.get(case, case) for case in cases}, source, problems)
