"""Checks across cases: the same voxels under two names, patients in train and test, counts of the official release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from ser_nnunet.dataset_conversion.core.data_classes import (
    LABEL,
    UNLABELLED,
    Case,
    CaseReport,
    DatasetInfo,
    Problem,
    VolumeFacts,
)

SAMPLE = 0.1
"""A folder with at most this part of the official cases is taken for a sample, not for an incomplete download."""


def find_duplicates(
    reports: Iterable[CaseReport], patients: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Problem]:
    """Report the same image, or the same label, under two names: within a case, between cases, in train and test.

    Equal are the same arrays regardless of their headers, and the same voxels in LPS order regardless of the stored
    order of axes.
    Two files of one case and role are not reported here: they are a "duplicate case".

    Args:
        reports: of all cases.
        patients: case -> patient, for those whose scans may share a mask (registered scans do): that is a note.
    """
    seen: dict[tuple[bool, str], tuple[str, VolumeFacts]] = {}
    for case, facts in ((report.case, facts) for report in reports for facts in report.facts if not facts.is_empty):
        is_label = facts.role == LABEL
        keys = [(is_label, each) for each in (facts.voxel_hash, facts.voxel_hash_stored, facts.voxel_hash_lps)]
        first, earlier = next((seen[key] for key in keys if key in seen), (case, facts))
        for key in keys:
            seen.setdefault(key, (case, facts))
        if (first, earlier.role) != (case, facts.role):
            name, other = (each.name if is_label else f"{each.name} ({each.role})" for each in (facts, earlier))
            kind = f"duplicate {'label' if is_label else 'image'}"
            is_shared = is_label and first != case and case in patients and patients.get(first) == patients[case]
            patient = " of the same patient" if is_shared else ""
            yield Problem(kind, case, f"{name} has the same voxels as {other} of {first}{patient}", not is_shared)


def find_patients_in_train_and_test(cases: Iterable[Case]) -> Iterator[Problem]:
    """Report patients with scans in test and in train, or among the unlabelled scans, which are trained on, too."""
    patients: dict[str, dict[str, list[str]]] = {}
    for case in cases:
        patients.setdefault(case.patient, {}).setdefault(case.split, []).append(case.name)
    for patient, splits in patients.items():
        trained = {split: names for split, names in splits.items() if split != "test"}
        if trained and "test" in splits:
            parts = [f"{split} has {', '.join(names)}" for split, names in {**trained, "test": splits["test"]}.items()]
            yield Problem(
                "patient in train and test", next(iter(trained.values()))[0], f"patient {patient}: {'; '.join(parts)}"
            )


def compare_case_counts(
    cases: Iterable[Case], info: DatasetInfo, excluded: Iterable[Case], allow_partial: bool
) -> Iterator[Problem]:
    """Compare with the official release: too few cases, too many, and whether there is any to train on.

    Unlabelled scans are no part of a release and do not count.

    A split without a single case was omitted on purpose, a handful of cases is a sample: both are only noted. Anything
    between that and the full count looks like an incomplete download, and is fatal without `allow_partial`.
    """
    splits = [case.split for case in cases if case.split != UNLABELLED]
    excluded_splits = [case.split for case in excluded]
    if "train" not in splits:
        text = f"none of {len(splits)} cases is for training" if splits else "there is no case left"
        yield Problem("no training cases", "", text)
    counted = sum(split in info.official_counts for split in splits)
    part = counted / max(1, sum(info.official_counts.values()))
    for split, official in info.official_counts.items():
        found, expected = splits.count(split), official - excluded_splits.count(split)
        text = f"{split}: {found} of the official {official} cases"
        if found > expected:
            yield Problem("too many cases", "", text, fatal=False)
        elif found < expected:
            sample = part <= SAMPLE or (found == 0 and split == "test")
            yield Problem("too few cases", "", text, fatal=not (allow_partial or sample))
