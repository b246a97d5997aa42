"""An order of regions is right exactly if nnU-Net's own label manager gives perfect regions back."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from ser_nnunet.nnunet.region_order import arrange_regions, describe_wrong_order, list_regions

Labels = dict[str, int | list[int]]

DATA_SETS: dict[str, Labels] = {
    "inside": {"whole": [1, 2], "core": 2},
    "BraTS": {"whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]},
    "KiTS": {"kidney and masses": [1, 2, 3], "masses": [2, 3], "tumour": 2},
    "divided completely": {"lung": [1, 2], "left": 1, "right": 2},
    "beside each other": {"a": [1, 2], "b": 3},
    "values that no region tells apart": {"a": [1, 2, 3], "b": [2, 3]},
    "overlap": {"a": [1, 2], "b": [2, 3]},
    "overlap that is a region": {"both": 2, "a": [1, 2], "b": [2, 3]},
    "a chain of overlaps": {"a": 1, "b": [1, 2], "c": [2, 3]},
    "the same twice": {"a": [1, 2], "b": [1, 2], "c": 1},
    "with background": {"a": [0, 1], "b": 1},
}


def declare(labels: Labels) -> Labels:
    """With background and the ignore label, which are no regions, wherever they stand."""
    highest = max(value for each in labels.values() for value in ([each] if isinstance(each, int) else each))
    return {"ignore": highest + 1, **labels, "background": 0}


def gives_regions_back(labels: Labels, order: tuple[int, ...]) -> bool:
    """Whether nnU-Net's mask of perfect probabilities shows every region where it is; a voxel per label value."""
    manager = LabelManager(declare(labels), list(order))
    voxels = np.array(manager.all_labels)
    regions = [np.isin(voxels, region) for region in manager.foreground_regions]
    mask = manager.convert_probabilities_to_segmentation(np.stack(regions).astype(float))
    return all(
        (np.isin(mask, region) == where).all()
        for region, where in zip(manager.foreground_regions, regions, strict=True)
    )


def reorder(labels: Labels) -> list[Labels]:
    """The labels in every order."""
    return [dict(entries) for entries in permutations(labels.items())]


@pytest.mark.parametrize("name", DATA_SETS)
def test_every_order_is_judged_as_by_nnunets_label_manager(name: str):
    found = {True: 0, False: 0}
    for labels in reorder(DATA_SETS[name]):
        regions = list_regions(declare(labels))
        for order in product(range(5), repeat=len(labels)):
            is_right = gives_regions_back(labels, order)
            assert (describe_wrong_order(regions, order) is None) == is_right, (labels, order)
            found[is_right] += 1
    assert found[False] and (found[True] or name == "overlap")


@pytest.mark.parametrize("name", DATA_SETS)
def test_the_suggested_order_gives_the_regions_back_and_keeps_that_of_the_labels_if_it_can(name: str):
    for labels in reorder(DATA_SETS[name]):
        arranged = arrange_regions(list_regions(declare(labels)))
        if name == "overlap":
            assert arranged is None
            continue
        assert arranged is not None
        suggested = {region: labels[region] for region in arranged}
        assert gives_regions_back(suggested, tuple(arranged.values()))
        can_stay = any(gives_regions_back(labels, order) for order in product(range(5), repeat=len(labels)))
        assert (list(arranged) == list(labels)) == can_stay


def test_the_message_names_regions_values_pairs_and_the_right_order():
    text = describe_wrong_order(list_regions({"core": 2, "background": 0, "whole": [1, 2]}), (1, 2))
    assert text is not None and text.startswith("regions_class_order 1 2: ")
    assert "core=2 as 1, whole=1,2 as 2" in text and "voxels of 1 (whole) as 2 (core, whole)" in text
    assert text.endswith("Right is: labels whole=1,2 core=2 with regions_class_order 1 2")


def test_overlapping_regions_are_told_which_region_they_need():
    text = describe_wrong_order(list_regions({"a": [1, 2], "b": [2, 3]}), (1, 3))
    assert text is not None and text.endswith("a region for each value that several share: 2 (a, b)")


def test_classes_without_a_region_have_no_order():
    assert list_regions({"background": 0, "lesion": [1], "scar": 2}) == {}
