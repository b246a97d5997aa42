"""Folds for cross-validation: scans of one patient stay together, every site is spread evenly."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from ser_nnunet.dataset_conversion.core.data_classes import UNLABELLED, Case, Problem

FOLDS = 5
SEED = 12345


def split_by_patient(cases: Sequence[Case], folds: int = FOLDS) -> list[dict[str, list[str]]]:
    """Return nnU-Net's `splits_final.json`: `{"train": names, "val": names}` per fold.

    Patients with most scans are assigned first, each to the fold that has fewest scans of the patient's site so far,
    then fewest scans at all; a fixed seed decides between equal folds. With fewer patients than `folds` there are as
    many folds as patients, and none at all for a single patient (nnU-Net's fold `all` trains without folds).
    """
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.patient, []).append(case)
    if min(folds, len(groups)) < 2:
        return []
    patients = sorted(groups)
    random.Random(SEED).shuffle(patients)
    validation: list[list[Case]] = [[] for _ in range(min(folds, len(groups)))]
    for patient in sorted(patients, key=lambda patient: -len(groups[patient])):
        site = groups[patient][0].site
        sizes = [(sum(case.site == site for case in fold), len(fold)) for fold in validation]
        validation[sizes.index(min(sizes))].extend(groups[patient])
    held_out = [{case.name for case in fold} for fold in validation]
    names = sorted(case.name for case in cases)
    return [
        {"train": [name for name in names if name not in fold], "val": [name for name in names if name in fold]}
        for fold in held_out
    ]


def add_unlabelled(splits: Sequence[Mapping[str, list[str]]], cases: Sequence[Case]) -> list[dict[str, list[str]]]:
    """Return the folds with unlabelled cases in training wherever no scan of their patient is in validation.

    Args:
        splits: of the labelled cases.
        cases: all training cases, with and without labels.
    """
    patients = {case.name: case.patient for case in cases}
    folds = []
    for fold in splits:
        held_out = {patients[name] for name in fold["val"]}
        added = [case.name for case in cases if case.split == UNLABELLED and case.patient not in held_out]
        folds.append({"train": sorted([*fold["train"], *added]), "val": fold["val"]})
    return folds


def describe_missing_folds(splits: Sequence[object]) -> list[Problem]:
    """Return a note if there are fewer folds than nnU-Net's usual five."""
    if len(splits) >= FOLDS:
        return []
    numbers = ", ".join(map(str, range(len(splits))))
    text = f"{len(splits)} patients make {len(splits)} folds instead of {FOLDS}: train {numbers}"
    if not splits:
        text = "one patient alone cannot be split: no splits_final.json; train the fold `all`, not a number"
    return [Problem("folds", "", text, fatal=False)]
