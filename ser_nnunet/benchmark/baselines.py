"""Which baseline the trainers are compared with: the better one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def rank_trainers(dice: Mapping[str, float], baselines: Sequence[str]) -> dict[str, str]:
    """Return trainer -> role (empty if it is no baseline): the better baseline, the others, then the other trainers.

    Args:
        dice: trainer -> mean Dice; an undefined one is the lowest, and of equal baselines the one named first is taken.
        baselines: names in `dice`, at least one.
    """
    better = max(baselines, key=lambda name: dice[name] if math.isfinite(dice[name]) else -1.0)
    others = [name for name in baselines if name != better]
    roles = dict.fromkeys([better, *others, *dice], "")
    return roles | dict.fromkeys(others, "other baseline") | {better: "better baseline" if others else "baseline"}


def mark_trainers(trainers: Sequence[str], roles: Mapping[str, str]) -> list[str]:
    """Return the trainers' names for a table, with the role of the baselines."""
    return [f"{name} ({roles[name]})" if roles[name] else name for name in trainers]


def describe_choice(roles: Mapping[str, str]) -> str:
    """Return a sentence for the tables: which baseline everything counts against, and why."""
    first, *others = [name for name, role in roles.items() if role]
    chosen = f"**The baseline is {first}**"
    if others:
        chosen += (
            f", the better one of {', '.join([first, *others])}: the higher mean Dice over all classes, cases and seeds"
            " reported here. This choice is in the baseline's favour; it holds for all metrics, ratios and curves"
        )
    return f"{chosen}."
