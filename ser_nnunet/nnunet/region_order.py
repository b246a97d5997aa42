"""Whether the masks that nnU-Net writes for regions give the regions back, which `regions_class_order` decides.

nnU-Net (`LabelManager.convert_probabilities_to_segmentation`) writes the regions one after the other, in the order of
dataset.json's `labels`, each with the value at the same place of `regions_class_order`; later ones overwrite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

IGNORE = "ignore"
"""nnU-Net's name for the label of voxels that nobody annotated."""

Regions = Mapping[str, tuple[int, ...]]
"""Region -> its label values, in nnU-Net's order."""

SHOWN = 20
"""Regions and values that a message names; a data set may have thousands."""


def list_regions(labels: Mapping[str, int | Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Return the regions of dataset.json's `labels` in the order in which nnU-Net pairs them with the values.

    As for nnU-Net, background and the ignore label are none, and without a class of several values there are none.
    """
    given: dict[str, Sequence[Any]] = {
        name: value if isinstance(value, list | tuple) else [value] for name, value in labels.items()
    }
    values = {name: tuple(map(int, each)) for name, each in given.items()}
    if all(len(each) == 1 for each in values.values()):
        return {}
    return {name: each for name, each in values.items() if name != IGNORE and any(each)}


def describe_wrong_order(regions: Regions, order: Sequence[int]) -> str | None:
    """Return in a sentence what a perfect model's masks would lose, and an order that is right; None if `order` is.

    A mask is right if the value that is written for each label value lies in the same regions as that one.

    Args:
        regions: of `list_regions`.
        order: `regions_class_order`, a value per region.
    """
    homes = find_homes(regions)
    written: dict[int, int] = {}
    for values, value in zip(regions.values(), order, strict=True):
        written |= dict.fromkeys(values, value)
    wrong = [
        f"{value} ({_join(sorted(homes[value]))}) as {new} ({_join(sorted(homes.get(new, ()))) or 'no region'})"
        for value, new in sorted(written.items())
        if homes.get(new) != homes[value]
    ]
    if not wrong:
        return None
    pairs = [f"{_format(name, regions[name])} as {new}" for name, new in zip(regions, order, strict=True)]
    return (
        f"regions_class_order {_join([*map(str, order)], ' ')}: nnU-Net writes the regions in the order of the "
        f"labels, each with the value at the same place, later ones over earlier ones: {_join(pairs)}. So masks of a "
        f"perfect model would show voxels of {_join(wrong)}. {suggest_order(regions)}"
    )


def suggest_order(regions: Regions) -> str:
    """Return a sentence with labels and values that are right, or with the regions that are missing for that."""
    if arranged := arrange_regions(regions):
        labels, values = [_format(name, regions[name]) for name in arranged], [*map(str, arranged.values())]
        return f"Right is: labels {_join(labels, ' ')} with regions_class_order {_join(values, ' ')}"
    homes = find_homes(regions)
    shared = [f"{value} ({_join(sorted(names))})" for value, names in sorted(homes.items()) if len(names) > 1]
    return f"No order of these regions is right: declare a region for each value that several share: {_join(shared)}"


def arrange_regions(regions: Regions) -> dict[str, int] | None:
    """Return region -> the value to write, in an order in which masks give the regions back; None if there is none.

    Regions are taken from the innermost, which is written last, outwards: all values of the next one that no inner
    region overwrites lie in the same regions. Where several may be next, the given order is kept.
    """
    homes = find_homes(regions)
    left = {name: {homes[value] for value in values} for name, values in regions.items()}
    outwards: dict[str, int] = {}
    while left:
        name = next((name for name in reversed(left) if len(left[name]) <= 1), None)
        if name is None:
            return None
        visible = left.pop(name)
        fitting = (value for value in regions[name] if value and (not visible or homes[value] in visible))
        outwards[name] = min(fitting, default=0)
        for groups in left.values():
            groups -= visible
    return dict(reversed(outwards.items()))


def find_homes(regions: Regions) -> dict[int, frozenset[str]]:
    """Return label value -> the regions that contain it."""
    homes: dict[int, set[str]] = {}
    for name, values in regions.items():
        for value in values:
            homes.setdefault(value, set()).add(name)
    return {value: frozenset(names) for value, names in homes.items()}


def _format(name: str, values: Sequence[int]) -> str:
    """Return a region as `--labels` takes it, such as whole=1,2."""
    return f"{name}={','.join(map(str, values))}"


def _join(words: Sequence[str], separator: str = ", ") -> str:
    more = [f"and {len(words) - SHOWN} more"] if len(words) > SHOWN else []
    return separator.join([*words[:SHOWN], *more])
