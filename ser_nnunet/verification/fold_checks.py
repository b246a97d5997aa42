"""Folds for cross-validation: whether patients, or cases, are in training and validation at the same time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from ser_nnunet.dataset_conversion.core.data_classes import Problem
from ser_nnunet.dataset_conversion.core.splits import FOLDS
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import PREPROCESSED, nnunet_folder
from ser_nnunet.utils.files import read_json
from ser_nnunet.utils.json_files import describe_problems

SPLITS = "splits_final.json"
NNUNET_SEED = 12345
"""Of the folds that nnU-Net makes where there is no splits_final.json."""
NAMED = 5
"""Cases that one message names."""

Fold = dict[str, list[str]]


def find_splits(folder: Path) -> Path | None:
    """Return splits_final.json of nnUNet_preprocessed, which training reads, or of the raw folder, or None."""
    preprocessed = nnunet_folder(PREPROCESSED)
    places = [*([preprocessed / folder.absolute().name] if preprocessed else []), folder]
    return next((place / SPLITS for place in places if (place / SPLITS).is_file()), None)


def read_splits(file: Path) -> list[Fold]:
    """Read the folds; raises `UserError` if the file is none of nnU-Net's."""
    expected = 'nnU-Net\'s folds, a list of {"train": [cases], "val": [cases]}, expected'
    try:
        return TypeAdapter(Annotated[list[Fold], Field(min_length=1)]).validate_python(read_json(file))
    except ValidationError as error:
        raise UserError(f"{file}: {expected}, but\n{describe_problems(error)}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: {expected}, and it can't be read ({error})") from error


def group_by_pattern(cases: Sequence[str], pattern: str) -> dict[str, str]:
    """Return case -> patient by a regular expression, whose first group (or whole match) names the patient.

    Raises:
        UserError: it is no regular expression, or does not match the beginning of every case's name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"--patients {pattern}: no regular expression ({error})") from None
    matches = {case: compiled.match(case) for case in cases}
    absent = [case for case, match in matches.items() if match is None or (match.lastindex and not match[1])]
    if absent:
        raise UserError(f"--patients {pattern}: it finds no patient in {_name(absent)}")
    return {case: match[1] if match.lastindex else match[0] for case, match in matches.items() if match}


def check_splits(
    folds: Sequence[Fold], cases: Sequence[str], patients: Mapping[str, str], file: str
) -> Iterator[Problem]:
    """Report cases and patients in training and validation of a fold, unknown cases, and cases in no fold.

    Args:
        folds: of splits_final.json.
        cases: names of all training cases.
        patients: case -> patient, of all of them.
        file: the file's name for messages.
    """
    used: set[str] = set()
    for index, fold in enumerate(folds):
        train, validation = set(fold.get("train", [])), set(fold.get("val", []))
        used |= train | validation
        where = f"fold {index} of {file}"
        if not train or not validation:
            yield Problem("folds", "", f"{where} has {len(train)} cases in train and {len(validation)} in val")
        if unknown := sorted((train | validation) - set(cases)):
            yield Problem("folds", "", f"{where} names cases that imagesTr does not have: {_name(unknown)}")
        if both := sorted(train & validation):
            yield Problem("leakage between folds", "", f"{where} has cases in train and in val: {_name(both)}")
        known = set(cases)
        yield from find_divided_patients((train - validation) & known, (validation - train) & known, patients, where)
    if unused := sorted(set(cases) - used):
        text = f"{file} has these cases in no fold, neither in train nor in val: {_name(unused)}"
        yield Problem("folds", "", text, fatal=False)


def check_random_folds(cases: Sequence[str], patients: Mapping[str, str]) -> Iterator[Problem]:
    """Report the patients that nnU-Net's own random folds divide, which it makes if there is no splits_final.json."""
    if len({patients[case] for case in cases}) == len(cases) or len(cases) < FOLDS:
        return
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    folds = generate_crossval_split(sorted(cases), seed=NNUNET_SEED, n_splits=FOLDS)
    divided: dict[str, None] = {}
    for fold in folds:
        train = {patients[str(case)] for case in fold["train"]}
        divided |= dict.fromkeys(patients[str(case)] for case in fold["val"] if patients[str(case)] in train)
    if divided:
        text = f"there is no {SPLITS}, and nnU-Net's own folds divide {len(divided)} patients: {_name(list(divided))}"
        yield Problem("leakage between folds", "", text)


def find_divided_patients(
    train: set[str], validation: set[str], patients: Mapping[str, str], where: str
) -> Iterator[Problem]:
    """Yield a problem for each case in validation whose patient has others in training."""
    known: dict[str, list[str]] = {}
    for case in sorted(train):
        known.setdefault(patients[case], []).append(case)
    for case in sorted(validation):
        if others := known.get(patients[case]):
            text = f"{where}: it is in val, {_name(others)} of the same patient ({patients[case]}) in train"
            yield Problem("leakage between folds", case, text)


def _name(cases: Sequence[str]) -> str:
    more = f" and {len(cases) - NAMED} more" if len(cases) > NAMED else ""
    return ", ".join(cases[:NAMED]) + more
