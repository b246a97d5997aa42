"""Dice of the validation cases, as nnU-Net computed it after training, pooled over the folds of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath, PureWindowsPath
from typing import Annotated, Any

import pandas as pd
from nnunetv2.evaluation.evaluate_predictions import key_to_label_or_region
from pydantic import StringConstraints

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.labels import Labels
from ser_nnunet.evaluation.patients import Patients, find_patients
from ser_nnunet.evaluation.settings import Settings
from ser_nnunet.evaluation.statistics import class_mean_interval, mean_interval
from ser_nnunet.nnunet.paths import PREPROCESSED, nnunet_folder
from ser_nnunet.utils.json_files import JsonModel, read_validated

REFERENCES = "gt_segmentations"
Key = Annotated[str, StringConstraints(pattern=r"^(\d+|\([\d, ]+\))$")]
"""A label or region in nnU-Net's summary.json, such as `1`, `(1, 2)` or `(1,)`."""


class Overlap(JsonModel):
    """What nnU-Net measured of a label."""

    Dice: float


class CaseMetrics(JsonModel):
    """One case's entry of nnU-Net's summary.json."""

    prediction_file: str
    metrics: dict[Key, Overlap]


class Summary(JsonModel):
    """nnU-Net's `fold_X/validation/summary.json`."""

    foreground_mean: Overlap
    metric_per_case: list[CaseMetrics]


@dataclass(frozen=True)
class DiceRow:
    """The Dice of one label, or the mean of the labels.

    Attributes:
        name: of the label; empty for the mean.
        mean: over the cases in which it is defined; the mean of the labels' means as nnU-Net's `foreground_mean`.
        interval: of the mean, lower and upper end; NaN with fewer than two patients.
        median: over the cases.
        worst: the worst case's.
        count: cases in which it is defined.
    """

    name: str
    mean: float
    interval: tuple[float, float]
    median: float
    worst: float
    count: int


@dataclass(frozen=True)
class Validation:
    """The validation cases of a model's folds.

    Attributes:
        dice: one row per case (its name is the index), one column per label or region; NaN where both masks are empty.
            A case that several folds have validated has the mean of their values.
        fold_of: case -> the first fold that has validated it.
        missing: folds that have not been validated.
        patients: of the cases; without problems.
        settings: of the intervals.
    """

    dice: pd.DataFrame
    fold_of: Mapping[str, str]
    missing: Sequence[str]
    patients: Patients
    settings: Settings

    @cached_property
    def rows(self) -> list[DiceRow]:
        """One row per label; before them, where there are several, their mean."""
        grouped = self.dice.rename(index=dict(self.patients.of_case))
        rows = []
        for name in self.dice:
            defined = grouped[name].dropna()
            rows.append(_describe(str(name), defined, defined.mean(), mean_interval(defined, self.settings)))
        if len(rows) > 1:
            mean = float(self.dice.mean().mean())
            of_cases = self.case_means.dropna()
            rows.insert(0, _describe("", of_cases, mean, class_mean_interval(grouped, self.settings)))
        return rows

    @property
    def case_means(self) -> pd.Series:
        """The mean over the labels of every case; NaN where none is defined."""
        return self.dice.mean(axis="columns")

    @property
    def undefined(self) -> int:
        """How many values are missing because a label is in neither mask of a case."""
        return int(self.dice.isna().to_numpy().sum())

    @property
    def patient_count(self) -> int:
        """Patients of the cases."""
        return len({self.patients.of_case[case] for case in self.dice.index})

    def median_case(self) -> str:
        """Return the case whose mean Dice is the median, the upper of two; undefined ones are left out."""
        ranked = self.case_means.sort_values(kind="stable").iloc[: self.case_means.count() or 1]
        return str(ranked.index[len(ranked) // 2])


def summary_file(folder: Path, fold: str) -> Path:
    """Return where nnU-Net writes a fold's summary."""
    return folder / f"fold_{fold}" / "validation" / "summary.json"


def read_summary(file: Path) -> Summary:
    """Read nnU-Net's summary of a validation; `UserError` if it is none."""
    return read_validated(file, Summary, "nnU-Net's summary of a validation (repeat it: nnUNetv2_train ... --val)")


def read_validation(folder: Path, folds: Sequence[str], labels: Labels, dataset: str) -> Validation | None:
    """Read the summaries of a model's folds.

    Args:
        folder: the model folder.
        folds: such as `0` or `all`.
        labels: of its dataset.json.
        dataset: the data set's name, for the patients that `conversion.json` names.

    Returns:
        None if no case of any fold has been validated.

    Raises:
        UserError: summaries that are none of nnU-Net's, or lack a label; all of them.
    """
    files = {fold: summary_file(folder, fold) for fold in folds}
    found, problems = [], []
    for fold, file in files.items():
        try:
            found += list(_read_cases(file, fold, labels)) if file.is_file() else []
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    if not found:
        return None
    table = pd.DataFrame(found)
    dice = table.groupby("case", sort=True)[list(labels.classes)].mean()
    validated = dict(zip(table["case"][::-1], table["fold"][::-1], strict=True))
    missing = [fold for fold in folds if fold not in set(table["fold"])]
    return Validation(dice, validated, missing, _patients_of(list(dice.index), folder, labels, dataset), Settings())


def _read_cases(file: Path, fold: str, labels: Labels) -> Iterator[dict[str, Any]]:
    """Yield a row per case: fold, case, and the Dice of every label."""
    for entry in read_summary(file).metric_per_case:
        values = {key_to_label_or_region(key): overlap.Dice for key, overlap in entry.metrics.items()}
        values |= {key[0]: value for key, value in values.items() if isinstance(key, tuple) and len(key) == 1}
        if lacking := [name for name, value in labels.classes.items() if value not in values]:
            raise UserError(f"{file} has no Dice of {', '.join(lacking)}: validate again with the model's dataset.json")
        name = PureWindowsPath(entry.prediction_file).name.removesuffix(labels.file_ending)  # either kind of separator
        yield {"fold": fold, "case": name} | {name: values[value] for name, value in labels.classes.items()}


def _patients_of(cases: list[str], folder: Path, labels: Labels, dataset: str) -> Patients:
    """Return the patients that `conversion.json` names; without it, or where it lacks cases, one per case."""
    root = nnunet_folder(PREPROCESSED) or folder.resolve().parent.parent
    found = find_patients(cases, root / PurePath(dataset).name / REFERENCES, labels)
    return Patients({case: case for case in cases}) if found.problems else found


def _describe(name: str, values: pd.Series, mean: float, interval: tuple[float, float]) -> DiceRow:
    return DiceRow(name, float(mean), interval, float(values.median()), float(values.min()), len(values))
