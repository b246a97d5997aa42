"""L_seg sees the same classes, regions and ignored pixels as nnU-Net's own loss."""

import math

import pytest
import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from ser_nnunet.training.losses import (
    binary_targets,
    build_seg_loss,
    count_overlap,
    mean_dice,
    one_vs_rest_logits,
    sam_distillation,
)

CLASSES = LabelManager({"background": 0, "one": 1, "two": 2}, None)
IGNORING = LabelManager({"background": 0, "one": 1, "ignore": 2}, None)
REGIONS = LabelManager({"background": 0, "whole": (1, 2), "core": 2}, [1, 2])
REGIONS_IGNORING = LabelManager({"background": 0, "whole": (1, 2), "core": 2, "ignore": 3}, [1, 2])


def label_map(*rows):
    return torch.tensor(rows)[None, None]


def test_classes_become_one_map_each():
    maps = binary_targets(label_map([0, 1], [2, 2]), CLASSES)
    assert maps.tolist() == [[[[False, True], [False, False]], [[False, False], [True, True]]]]


def test_ignored_pixels_become_the_last_map():
    maps = binary_targets(label_map([0, 1], [2, 2]), IGNORING)
    assert maps.tolist() == [[[[False, True], [False, False]], [[False, False], [True, True]]]]


def test_regions_are_taken_as_nnunet_gives_them():
    regions = torch.tensor([[[[0, 1]], [[0, 0]], [[1, 0]]]])
    assert torch.equal(binary_targets(regions, REGIONS_IGNORING), regions.bool())


@pytest.mark.parametrize("labels", [IGNORING, REGIONS_IGNORING], ids=["classes", "regions"])
def test_ignored_pixels_change_neither_loss_nor_gradient(labels):
    prompts = 2 if labels.has_regions else 1
    targets = torch.zeros(2, prompts + 1, 4, 4, dtype=torch.bool)
    targets[:, :-1, 1:3, 1:3] = True
    targets[:, -1, :, 3] = True
    logits = torch.randn(2, prompts, 4, 4, requires_grad=True)
    loss = build_seg_loss(labels, batch_dice=True, ddp=False)
    value = loss(logits, targets)
    value.backward()
    assert (logits.grad[..., 3] == 0).all() and (logits.grad[..., :3] != 0).all()
    with torch.no_grad():
        elsewhere = logits.clone()
        elsewhere[..., 3] = 50
        assert loss(elsewhere, targets) == value


def test_perfect_masks_reach_the_minimum():
    targets = torch.zeros(1, 2, 6, 6, dtype=torch.bool)
    targets[0, 0, :3], targets[0, 1, 3:] = True, True
    loss = build_seg_loss(CLASSES, batch_dice=False, ddp=False)
    assert loss((targets.float() - 0.5) * 40, targets).item() == pytest.approx(-1, abs=1e-4)


def test_overlap_counts_leave_ignored_pixels_out():
    targets = torch.tensor([[[[1, 1, 0, 0, 1]], [[0, 0, 0, 0, 1]]]]).bool()  # the last pixel is ignored
    logits = torch.tensor([[[[3.0, -3.0, 3.0, -3.0, 3.0]]]])
    counts = count_overlap(logits, targets, IGNORING)
    assert counts.tolist() == [[1], [1], [1]]
    assert mean_dice(counts).item() == 0.5


def test_mean_dice_leaves_absent_classes_out():
    counts = torch.tensor([[3, 0], [1, 0], [1, 0]])  # Dice 6 / 8; the second class doesn't occur
    assert mean_dice(counts).item() == 0.75


def test_mean_dice_counts_a_class_that_only_the_masks_have():
    assert mean_dice(torch.tensor([[3, 0], [1, 5], [1, 0]])).item() == 0.375


def test_mean_dice_is_nan_without_any_class():
    assert math.isnan(mean_dice(torch.zeros(3, 2, dtype=torch.long)))


def test_a_classs_binary_logit_has_its_softmax_probability():
    logits = torch.tensor([2.0, -1.0, 0.5]).reshape(1, 3, 1, 1)
    binary = one_vs_rest_logits(logits, CLASSES)
    assert torch.allclose(binary.sigmoid(), logits.softmax(1)[:, 1:])
    assert one_vs_rest_logits(logits, REGIONS) is logits


@pytest.mark.parametrize("labels", [CLASSES, REGIONS], ids=["classes", "regions"])
def test_sam_distillation_draws_the_network_towards_sams_masks_and_leaves_sam_alone(labels):
    masks = torch.tensor([3.0, -3.0]).reshape(1, 2, 1, 1).requires_grad_()
    logits = torch.zeros(1, 2 if labels.has_regions else 3, 1, 1, requires_grad=True)
    sam_distillation(logits, masks, labels).backward()
    assert masks.grad is None
    first, second = logits.grad.flatten()[-2:]
    assert first < 0 < second, "the class that SAM's mask holds rises, the other one falls"


def test_sam_distillation_has_no_gradient_where_network_and_sam_agree():
    masks = torch.tensor([1.0, -2.0]).reshape(1, 2, 1, 1)
    logits = masks.clone().requires_grad_()
    sam_distillation(logits, masks, REGIONS).backward()
    assert logits.grad.abs().max() < 1e-6
