"""Prompts belong to their mask and never lie in the padding."""

import torch

from ser_nnunet.benchmark.proxy_sam import prompts
from ser_nnunet.benchmark.proxy_sam.training import compute_iou
from tests.benchmark.proxy_sam.images import inside, square


def test_points_lie_where_their_labels_say_and_never_in_the_padding():
    generator = torch.Generator().manual_seed(0)
    mask = square().expand(50, -1, -1)
    points, labels = prompts.draw_points(mask, inside().expand(50, -1, -1), 3, generator)
    for sample in range(50):
        for (x, y), label in zip(points[sample].long().tolist(), labels[sample].tolist(), strict=True):
            assert bool(mask[sample, y, x]) == bool(label) and x < 50
    assert labels[:, 0].all() and not labels.all()


def test_boxes_are_x_y_x_y_jitter_by_a_tenth_and_end_where_the_image_ends():
    many = [part.expand(50, -1, -1) for part in (square(), inside())]
    boxes = prompts.draw_boxes(*many, torch.Generator().manual_seed(0))
    off = (boxes - torch.tensor([30.0, 10.0, 49.0, 19.0])).abs().amax(0)
    assert (off <= torch.tensor([2.0, 1.0, 2.0, 1.0])).all()
    assert boxes.std(0)[[0, 1, 3]].min() > 0 and boxes[:, 2].max() == 49


def test_mask_prompts_are_poor_copies_of_the_mask():
    logits = prompts.draw_mask_prompts(square(), 64, torch.Generator().manual_seed(0))
    assert logits.shape == (1, 1, 64, 64) and logits.abs().max() <= prompts.MASK_LOGIT
    overlap = compute_iou(logits > 0, square()[None])
    assert 0.4 < overlap.item() < 1
