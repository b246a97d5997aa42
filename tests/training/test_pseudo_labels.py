"""Pseudo-labels in the format of nnU-Net's target, and CutMix."""

from types import SimpleNamespace

import pytest
import torch

from ser_nnunet.training.pseudo_labels import cut_mix, draw_boxes, find_ignored, ignore_outside, pseudo_targets

CLASSES = SimpleNamespace(has_regions=False, ignore_label=3)
REGIONS = SimpleNamespace(has_regions=True, ignore_label=3)
NONE = SimpleNamespace(has_regions=False, ignore_label=None)


def test_uncertain_voxels_keep_the_ignore_label():
    """Three voxels of three classes; the last one's largest probability is 0.5."""
    probabilities = torch.tensor([[0.90, 0.05, 0.05], [0.05, 0.10, 0.85], [0.50, 0.25, 0.25]])
    logits = probabilities.log().T.reshape(1, 3, 1, 3)
    assert pseudo_targets(logits, CLASSES, 0.8).tolist() == [[[[0, 2, 3]]]]
    assert pseudo_targets(logits, CLASSES, 0.5).tolist() == [[[[0, 2, 0]]]]


def test_a_voxel_is_uncertain_if_one_of_its_regions_is():
    """Two regions in three voxels: inside both, in the first alone, the second undecided (probability 0.6)."""
    logits = torch.tensor([[3.0, 3.0, 3.0], [3.0, -3.0, 0.4]]).reshape(1, 2, 1, 3)
    target = pseudo_targets(logits, REGIONS, 0.8)
    assert target[0, :, 0].tolist() == [[True, True, True], [True, False, True], [False, False, True]]
    assert find_ignored(target, REGIONS)[0, 0, 0].tolist() == [False, False, True]


def test_ignored_outside():
    kept = torch.tensor([True, False, True]).reshape(1, 1, 1, 3)
    target = torch.tensor([1, 1, 3]).reshape(1, 1, 1, 3)
    assert ignore_outside(target, kept, CLASSES).flatten().tolist() == [1, 3, 3]
    regions = torch.tensor([[1, 1, 0], [0, 0, 1]]).reshape(1, 2, 1, 3)
    assert ignore_outside(regions, kept, REGIONS)[0, 1, 0].tolist() == [False, True, True]


def test_without_an_ignore_label_there_is_nothing_to_mark():
    with pytest.raises(ValueError, match="no label 'ignore'"):
        pseudo_targets(torch.zeros(1, 2, 1, 1), NONE, 0.8)


@pytest.mark.parametrize("patch", [(32, 48), (8, 32, 40)])
def test_boxes_have_a_quarter_to_three_quarters_of_every_edge(patch):
    torch.manual_seed(0)
    boxes = draw_boxes(50, patch, torch.device("cpu"))
    assert boxes.shape == (50, 1, *patch)
    for axis, edge in enumerate(patch):
        others = [2 + other for other in range(len(patch)) if other != axis]
        lengths = boxes.any(others[0], keepdim=True).any(others[-1], keepdim=True).flatten(1).sum(1)
        assert lengths.min() >= edge / 4 - 1 and lengths.max() <= edge * 3 / 4 + 1 and lengths.unique().numel() > 2


def test_images_and_labels_are_mixed_alike():
    """Every patch has its own number as intensity and as label, so that they must agree after mixing."""
    torch.manual_seed(0)
    labels = torch.arange(4).reshape(4, 1, 1, 1).expand(4, 1, 16, 16)
    boxes, partners = draw_boxes(4, (16, 16), torch.device("cpu")), torch.tensor([1, 2, 3, 0])
    images, mixed = cut_mix(labels.float(), boxes, partners), cut_mix(labels, boxes, partners)
    assert torch.equal(images, mixed.float())
    assert [sorted(patch.unique().tolist()) for patch in mixed] == [[0, 1], [1, 2], [2, 3], [0, 3]]
