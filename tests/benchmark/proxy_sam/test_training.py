"""The loss, the batched decoder, and that prompts are learnt."""

import numpy as np
import pytest
import torch

from ser_nnunet.benchmark.proxy_sam import prompts, training
from tests.benchmark.proxy_sam.images import disc_source, inside, square


@pytest.mark.parametrize("kind", prompts.PROMPT_KINDS)
def test_decoding_a_batch_equals_segment_anythings_forward(small_sam, kind):
    """`Sam.forward` takes images one by one: the batch must give the same masks."""
    images = torch.rand(2, 3, 64, 64) * 255
    masks = square().expand(4, -1, -1)
    generator = torch.Generator().manual_seed(0)
    sparse, dense = prompts.embed_prompts(small_sam, masks, inside().expand(4, -1, -1), kind, generator)
    with torch.no_grad():
        logits, quality = training.decode_prompts(small_sam, images, 2, sparse, dense)
        for index, image in enumerate(images):
            mine = slice(2 * index, 2 * index + 2)
            expected, iou = small_sam.mask_decoder.predict_masks(
                small_sam.image_encoder(small_sam.preprocess(image[None])),
                small_sam.prompt_encoder.get_dense_pe(),
                sparse[mine],
                dense[mine],
            )
            assert torch.allclose(logits[mine], expected, atol=1e-4)
            assert torch.allclose(quality[mine], iou, atol=1e-4)


def test_a_perfect_mask_costs_less_than_any_other():
    target = square()[None].float()
    perfect, shifted, empty = (target - 0.5) * 40, (target.roll(5, 3) - 0.5) * 40, torch.full_like(target, -20)
    best, worse, worst = (training.compute_mask_losses(each, target).item() for each in (perfect, shifted, empty))
    assert best < 1e-3 < worse < worst


@pytest.mark.slow
def test_the_proxy_learns_to_follow_prompts():
    """Mask prompts are unambiguous: a few steps on one shape must raise the overlap."""
    history = list(training.train_proxy(training.build_proxy(64, seed=0), [disc_source()], 60, seed=0))
    mask_prompts = [each.overlap for each in history if each.kind == "mask"]
    assert np.mean(mask_prompts[-3:]) > np.mean(mask_prompts[:3]) + 0.2
