"""Folds for cross-validation: scans of one patient stay together, every site is spread evenly."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from ser_nnunet.dataset_conversion.core.data_classes import Case

FOLDS = 5
SEED = 12345


def grouped_splits(cases: Sequence[Case], folds: int = FOLDS) -> list[dict[str, list[str]]]:
    """Return nnU-Net's `splits_final.json`: `{"train": names, "val": names}` per fold.

    Patients with most scans are dealt first, each to the fold that has fewest scans of the patient's site so far, then
    fewest scans at all; ties fall by a fixed seed. With fewer patients than `folds` there are as many folds as
    patients, and none at all for a single patient (nnU-Net's `-f all` trains without folds).
    """
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.patient, []).append(case)
    number = min(folds, len(groups))
    if number < 2:
        return []
    validation: list[list[Case]] = [[] for _ in range(number)]
    for patient in _dealing_order(groups):
        group = groups[patient]
        min(validation, key=lambda fold: (_of_site(fold, group[0].site), len(fold))).extend(group)
    names = sorted(case.name for case in cases)
    return [_fold(names, {case.name for case in fold}) for fold in validation]


def _dealing_order(groups: dict[str, list[Case]]) -> list[str]:
    patients = sorted(groups)
    random.Random(SEED).shuffle(patients)
    return sorted(patients, key=lambda patient: -len(groups[patient]))


def _of_site(fold: list[Case], site: str) -> int:
    return Counter(case.site for case in fold)[site]


def _fold(names: list[str], held_out: set[str]) -> dict[str, list[str]]:
    return {
        "train": [name for name in names if name not in held_out],
        "val": [name for name in names if name in held_out],
    }
