"""Which baseline the trainers are compared with: the better one, and whether its plan is one of nnU-Net's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ser_nnunet.nnunet.plans import PlannedConfiguration

SMALLEST_EDGE = 4  # of a feature map that nnU-Net's ExperimentPlanner still plans (UNet_featuremap_min_edge_length)


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


def note_small_maps(planned: PlannedConfiguration) -> list[str]:
    """Return a sentence if the U-Net is deeper than nnU-Net plans for such a patch, which handicaps it; else nothing.

    So it is where a configuration inherits another one's architecture and only makes the patch smaller.
    """
    if not planned.strides:
        return []
    totals = [math.prod(steps) for steps in zip(*planned.strides, strict=True)]
    edges = [size / total for size, total in zip(planned.patch_size, totals, strict=True)]
    if all(total == 1 or edge >= SMALLEST_EDGE for total, edge in zip(totals, edges, strict=True)):
        return []
    last, patch = (" x ".join(f"{edge:g}" for edge in shape) for shape in (edges, planned.patch_size))
    return [
        f"**The U-Net is deeper than nnU-Net plans for this patch**: {patch} ends in a feature map of {last}, and"
        f" nnU-Net's planner stops at {SMALLEST_EDGE} along each axis. With fewer stages in the configuration's"
        " architecture, the U-Net would not be at a disadvantage."
    ]
