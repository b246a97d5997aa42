"""Checks across cases: the same voxels under two names, patients on both sides, counts of the official release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ser_nnunet.dataset_conversion.core.case_checks import Examination, Facts
from ser_nnunet.dataset_conversion.core.data_classes import LABEL, Case, Description
from ser_nnunet.dataset_conversion.core.problems import Problem

SAMPLE = 0.1
"""A folder with no more than this part of the official cases can only be a sample, not a download that broke off."""


def duplicates(examinations: Iterable[Examination]) -> Iterator[Problem]:
    """The same image, or the same label, under two names: within a case, between cases, between train and test.

    Equal are the same arrays whatever their headers say, and the same voxels in LPS order however they are stored.
    Two copies of one file of a case are not told here: they are a "duplicate case".
    """
    seen: dict[tuple[bool, str], tuple[str, Facts]] = {}
    for case, facts in ((each.case, facts) for each in examinations for facts in each.facts if not facts.is_empty):
        is_label = facts.role == LABEL
        keys = [(is_label, facts.fingerprint), (is_label, facts.in_lps_order)]
        first, earlier = next((seen[key] for key in keys if key in seen), (case, facts))
        for key in keys:
            seen.setdefault(key, (case, facts))
        if (first, earlier.role) != (case, facts.role):
            kind = f"same {'label' if is_label else 'image'} twice"
            yield Problem(kind, case, f"{_called(facts)} has the same voxels as {_called(earlier)} of {first}")


def _called(facts: Facts) -> str:
    return facts.name if facts.role == LABEL else f"{facts.name} ({facts.role})"


def patients_on_both_sides(cases: Iterable[Case]) -> Iterator[Problem]:
    """Patients with scans in train and in test."""
    sides: dict[str, dict[str, list[str]]] = {}
    for case in cases:
        sides.setdefault(case.patient, {}).setdefault(case.split, []).append(case.name)
    for patient, split in sides.items():
        if len(split) > 1:
            text = f"patient {patient}: train has {', '.join(split['train'])}; test has {', '.join(split['test'])}"
            yield Problem("patient in train and test", split["train"][0], text)


def counts(
    cases: Iterable[Case], description: Description, left_out: Iterable[Case], allow_partial: bool
) -> Iterator[Problem]:
    """Compare with the official release: what is short, what is too much, and whether there is anything to train on.

    A split that is absent altogether was left out on purpose, a handful of cases is a sample: both are only said.
    Anything between that and the full count looks like a download that broke off, and is fatal without `allow_partial`.
    """
    here, out = list(cases), list(left_out)
    if not any(case.split == "train" for case in here):
        text = f"none of {len(here)} cases is for training" if here else "there is no case left"
        yield Problem("no training cases", "", text)
    part = sum(case.split in description.counts for case in here) / max(1, sum(description.counts.values()))
    for split, official in description.counts.items():
        found = sum(case.split == split for case in here)
        expected = official - sum(case.split == split for case in out)
        text = f"{split}: {found} of the official {official} cases"
        if found > expected:
            yield Problem("too many cases", "", text, fatal=False)
        elif found < expected:
            sample = part <= SAMPLE or (found == 0 and split == "test")
            yield Problem("too few cases", "", text, fatal=not (allow_partial or sample))
