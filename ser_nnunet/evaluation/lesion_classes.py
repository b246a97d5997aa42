"""Which classes consist of lesions that can be counted: those named so, and those of several components per case."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from ser_nnunet.evaluation.settings import Settings

LESION_NAMES = re.compile(
    r"lesion|tumou?r|cancer|carcinoma|metasta|nodul|polyp|plaque|hyperintens|infarct|ha?emorrhag|bleed|aneurysm"
    r"|(^|[^a-z])wmh([^a-z]|$)",
    re.IGNORECASE,
)
MANY = 3
"""Components of one case from which on they are no paired organ, such as the kidneys."""

MOST_CASES = 0.5
"""Least share of the cases with the class whose reference has `MANY` components."""


def resolve_lesion_classes(cases: pd.DataFrame, classes: Sequence[str], settings: Settings) -> Settings:
    """Return the settings with the names of the classes whose lesions are counted in place of `auto` or `all`.

    Args:
        cases: one row per method, case and class, with the column `lesions_reference` if lesions are evaluated.
        classes: all of them, in the data set's order.
        settings: of the evaluation.
    """
    chosen: Sequence[str] = settings.lesion_classes
    if chosen == "all" or "lesions_reference" not in cases:
        chosen = classes
    elif chosen == "auto":
        first = cases[(cases["method"] == cases["method"].iloc[0]) & (cases["lesions_reference"] > 0)]
        share = (first["lesions_reference"] >= MANY).groupby(first["class"]).mean()
        chosen = [name for name in classes if LESION_NAMES.search(name) or share.get(name, 0.0) >= MOST_CASES]
    return replace(settings, lesion_classes=tuple(name for name in classes if name in chosen))


def keep_counted(cases: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return the table of cases with NaN in place of lesion metrics of classes whose lesions are not counted.

    Args:
        cases: a column per metric of `settings.metrics`.
        settings: of `resolve_lesion_classes`.
    """
    columns = [metric.name for metric in settings.metrics]
    kept = {name: {metric.name for metric in settings.metrics_of(name)} for name in cases["class"].unique()}
    dropped = [[column not in kept[name] for column in columns] for name in cases["class"]]
    return cases.assign(**cases[columns].mask(pd.DataFrame(dropped, cases.index, columns)))


def describe_lesion_classes(classes: Sequence[str], settings: Settings) -> str:
    """Return for which classes lesions are counted, if not for all; nothing if lesions were not asked for."""
    chosen = classes if settings.lesion_classes in ("auto", "all") else settings.lesion_classes
    without = [name for name in classes if name not in chosen]
    if not without or "lesions" not in settings.groups:
        return ""
    counted = f"{', '.join(chosen)}, not for {', '.join(without)}" if chosen else "no class"
    return (
        f"lesions are counted for {counted} (by default for classes that are named as"
        f" lesions or have at least {MANY} components in most references; --lesions changes it)"
    )
