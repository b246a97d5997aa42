"""The distillation loss is Hinton's, for classes and for regions; the teacher's Dice is that of its segmentation."""

import math

import pytest
import torch
import torch.nn.functional as F
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from ser_nnunet.training.distillation import count_segmentation_overlap, distillation_loss

CLASSES = LabelManager({"background": 0, "one": 1, "two": 2}, None)
IGNORING = LabelManager({"background": 0, "one": 1, "ignore": 2}, None)
REGIONS = LabelManager({"background": 0, "whole": (1, 2), "core": 2}, [1, 2])


def test_one_voxel_by_hand():
    """The teacher gives 3/4 and 1/4, the student a half each."""
    teacher, student = torch.tensor([math.log(3), 0.0]), torch.zeros(2)
    loss = distillation_loss(student.reshape(1, 2, 1, 1), teacher.reshape(1, 2, 1, 1), IGNORING, 1.0)
    assert loss.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_it_is_kl_div_of_softened_softmaxes_times_the_squared_temperature(temperature):
    student, teacher = torch.randn(2, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 3
    voxels = [
        F.kl_div(
            (student[b, :, y, x] / temperature).log_softmax(0),
            (teacher[b, :, y, x] / temperature).softmax(0),
            reduction="sum",
        )
        for b in range(2)
        for y in range(4)
        for x in range(5)
    ]
    expected = temperature**2 * sum(voxels) / len(voxels)
    assert torch.allclose(distillation_loss(student, teacher, CLASSES, temperature), expected)


@pytest.mark.parametrize("labels", [CLASSES, REGIONS], ids=["classes", "regions"])
def test_a_student_that_agrees_has_no_loss_and_no_gradient(labels):
    teacher = torch.randn(2, labels.num_segmentation_heads, 4, 4, requires_grad=True)
    student = teacher.detach().clone().requires_grad_()
    loss = distillation_loss(student, teacher, labels, 2.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6) and student.grad.abs().max() < 1e-6
    assert teacher.grad is None, "the teacher doesn't learn"


def test_regions_have_the_gradient_of_binary_cross_entropy_with_soft_targets():
    student, teacher = torch.randn(2, 2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    first, second = student.clone().requires_grad_(), student.clone().requires_grad_()
    distillation_loss(first, teacher, REGIONS, 2.0).backward()
    (4 * F.binary_cross_entropy_with_logits(second / 2, (teacher / 2).sigmoid())).backward()
    assert torch.allclose(first.grad, second.grad, atol=1e-7) and first.grad.abs().max() > 1e-3


def test_extreme_logits_of_half_precision_stay_finite():
    student = torch.tensor([-6e4, 6e4]).half().reshape(1, 2, 1, 1).requires_grad_()
    for labels in (IGNORING, REGIONS):
        loss = distillation_loss(student, -student.detach(), labels, 0.5)
        loss.backward()
        assert loss.isfinite() and student.grad.isfinite().all()


def test_the_class_with_the_greatest_logit_is_counted_even_below_half_its_probability():
    logits = torch.tensor([[1.0, 1.1, 0.9], [5.0, 0.0, 0.0]]).T.reshape(1, 3, 1, 2)
    counts = count_segmentation_overlap(logits, torch.tensor([[[[1, 2]]]]), CLASSES)
    assert counts.tolist() == [[1, 0], [0, 0], [0, 1]]


def test_ignored_voxels_are_not_counted():
    logits = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).T.reshape(1, 2, 1, 2)
    counts = count_segmentation_overlap(logits, torch.tensor([[[[1, 2]]]]), IGNORING)
    assert counts.tolist() == [[1], [0], [0]]


def test_regions_overlap():
    logits = torch.tensor([[2.0, 2.0], [-1.0, 1.0]]).reshape(1, 2, 1, 2)
    target = torch.tensor([[1, 1], [1, 1]]).reshape(1, 2, 1, 2)
    assert count_segmentation_overlap(logits, target, REGIONS).tolist() == [[2, 1], [0, 0], [0, 1]]
