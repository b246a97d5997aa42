"""Pseudo-labels in the format of nnU-Net's segmentations, and their files."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from ser_nnunet.training.pseudo_label_files import PseudoLabelFiles, draw_centre, locate_classes
from ser_nnunet.training.pseudo_labels import certain_labels, count_label_overlap, fill_ignored, keep_agreed

CLASSES = LabelManager({"background": 0, "one": 1, "two": 2, "ignore": 3}, None)
REGIONS = LabelManager({"background": 0, "whole": (1, 2), "core": 2, "ignore": 3}, [1, 2])
NONE = SimpleNamespace(has_regions=False, ignore_label=None)


def test_uncertain_voxels_keep_the_ignore_label():
    """Three voxels of three classes; the last one's largest probability is 0.5."""
    probabilities = torch.tensor([[0.90, 0.05, 0.05], [0.05, 0.10, 0.85], [0.50, 0.25, 0.25]])
    logits = probabilities.log().T.reshape(3, 1, 1, 3)
    assert certain_labels(logits, CLASSES, 0.8).tolist() == [[[0, 2, 3]]]
    assert certain_labels(logits, CLASSES, 0.5).tolist() == [[[0, 2, 0]]]


def test_a_voxel_is_uncertain_if_one_of_its_regions_is():
    """In both regions, in the first alone, in none, and undecided about the second (probability 0.6)."""
    logits = torch.tensor([[3.0, 3.0, -3.0, 3.0], [3.0, -3.0, -3.0, 0.4]]).reshape(2, 1, 1, 4)
    assert certain_labels(logits, REGIONS, 0.8).tolist() == [[[2, 1, 0, 3]]]
    assert certain_labels(logits, REGIONS, 0.5).tolist() == [[[2, 1, 0, 2]]]


def test_annotation_is_never_replaced():
    annotation, pseudo = np.array([[[[0, 1, 3, 3]]]]), np.array([[[[2, 2, 2, 3]]]])
    assert fill_ignored(annotation, pseudo, CLASSES).tolist() == [[[[0, 1, 2, 3]]]]


def test_what_two_agree_on_is_kept():
    one, other = np.array([0, 1, 1, 2, 3]), np.array([0, 1, 2, 3, 3])
    assert keep_agreed(one, other, CLASSES).tolist() == [0, 1, 3, 3, 3]


def test_without_an_ignore_label_there_is_nothing_to_mark():
    with pytest.raises(ValueError, match="no label 'ignore'"):
        certain_labels(torch.zeros(2, 1, 1, 1), NONE, 0.8)


def test_classes_are_found_where_nnunets_loader_looks_for_them():
    segmentation = np.array([[[[0, 1, 2, 3]]]])
    classes = {key: places.tolist() for key, places in locate_classes(segmentation, CLASSES).items()}
    assert classes == {1: [[0, 0, 0, 1]], 2: [[0, 0, 0, 2]], (-1, 0, 1, 2): [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 2]]}
    regions = {key: places[:, 3].tolist() for key, places in locate_classes(segmentation, REGIONS).items()}
    assert regions == {(1, 2): [1, 2], 2: [2], (-1, 0, 1, 2): [0, 1, 2]}


def test_files_come_back_and_a_case_without_them_has_none(tmp_path):
    files = PseudoLabelFiles(tmp_path / "pseudo_labels")
    segmentation = np.random.default_rng(0).integers(0, 4, (1, 3, 9, 7))
    files.save("case", segmentation, CLASSES)
    files.save("case", segmentation[:, ::-1], CLASSES)  # the next round
    labels, locations = files.load("case")
    assert np.array_equal(labels[:], segmentation[:, ::-1]) and (np.asarray(labels[0, 1]) == segmentation[0, 1]).all()
    assert len(locations[1]) == (segmentation == 1).sum()
    assert files.holds("case") and not files.holds("another")
    files.remove()
    assert not files.holds("case")


@pytest.mark.parametrize(
    ("shape", "sampled", "patch"),
    [
        ((5, 9, 7), (1, 12, 12), (1, 8, 8)),
        ((3, 40, 20), (1, 16, 17), (1, 13, 12)),
        ((20, 30, 11), (16, 16, 16), (12, 12, 12)),
    ],
)
def test_patches_lie_where_nnunet_puts_them_without_an_ignore_label(shape, sampled, patch):
    """Images smaller and larger than the patch, in 2D and in 3D: every first corner, and no other, as in nnU-Net."""
    np.random.seed(0)
    without = LabelManager({"background": 0, "one": 1, "two": 2}, None)
    corners = []
    for labels in (without, CLASSES):
        loader = nnUNetDataLoader(SimpleNamespace(identifiers=["case"]), 2, sampled, patch, labels)
        key = loader.annotated_classes_key
        found = set()
        for _ in range(4000):
            locations = {1: [], 2: [], key: np.array([[0, *draw_centre(shape, sampled, patch)]])}
            found.add(tuple(int(first) for first in loader.get_bbox(shape, False, locations)[0]))
        corners.append(found)
    assert [(min(axis), max(axis)) for axis in zip(*corners[0], strict=True)] == [
        (min(axis), max(axis)) for axis in zip(*corners[1], strict=True)
    ]


def test_overlap_is_counted_where_both_are_labelled():
    labelled, annotation = np.array([1, 1, 2, 3, 0, 2]), np.array([1, 2, 2, 1, 3, 0])
    assert count_label_overlap(labelled, annotation, CLASSES).tolist() == [[1, 1], [1, 1], [0, 1]]
