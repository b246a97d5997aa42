"""Masks of a part of an image whose embedding was computed as a whole."""

import pytest
import torch

from ser_nnunet.sam.guide import NO_MASK, Part, SAMGuide

STRIDE = (8, 4)


@pytest.mark.parametrize("size", [(48, 48), (40, 72), (88, 32)])
def test_the_whole_image_as_its_part_has_the_masks_of_a_guided_step(dummy_sam, size):
    guide, image = SAMGuide(dummy_sam), torch.randn(1, 1, *size)
    prompt = torch.randn(1, 2, 256, size[0] // STRIDE[0], size[1] // STRIDE[1])
    masks = guide.decode_parts(guide.encode(image), prompt, [Part(size, (0, 0))], STRIDE)[0]
    torch.testing.assert_close(masks, guide(image, prompt)[0], atol=1e-5, rtol=1e-4)


def test_outside_of_the_part_sam_has_no_prompt(dummy_sam):
    """The same masks as for the whole image with SAM's no-mask embedding around the part's prompts."""
    guide, image, size = SAMGuide(dummy_sam), torch.randn(1, 1, 48, 48), (48, 48)
    prompt = torch.randn(2, 256, 3, 5)
    everywhere = dummy_sam.prompt_encoder.no_mask_embed.weight.reshape(1, 1, -1, 1, 1).expand(1, 2, -1, 6, 12).clone()
    everywhere[0, :, :, 2:5, 4:9] = prompt
    masks = guide.decode_parts(guide.encode(image), prompt[None], [Part(size, (16, 16))], STRIDE)[0]
    torch.testing.assert_close(masks, guide(image, everywhere)[0, :, 16:40, 16:36], atol=1e-5, rtol=1e-4)


def test_beyond_the_image_there_is_no_mask(dummy_sam):
    """A part of 48 x 40 pixels of a 44 x 30 image, whose last cells lie beyond it."""
    guide, image = SAMGuide(dummy_sam), torch.randn(1, 1, 44, 30)
    prompt = torch.randn(1, 256, 6, 10, requires_grad=True)
    masks = guide.decode_parts(guide.encode(image), prompt[None], [Part((44, 30), (0, 0))], STRIDE)[0]
    assert masks.shape == (1, 48, 40)
    assert (masks[:, 44:] == NO_MASK).all() and (masks[:, :, 30:] == NO_MASK).all()
    masks[:, :44, :30].square().sum().backward()
    reached = prompt.grad.abs().sum((0, 1)) > 0
    assert reached[:, :8].all() and not reached[:, 8:].any(), "columns 32 to 39 lie outside"


def test_kept_embeddings_are_decoded_without_the_encoder(dummy_sam):
    guide, image, prompt = SAMGuide(dummy_sam), torch.randn(1, 1, 40, 72), torch.randn(2, 256, 5, 18)
    arguments = guide.encode(image), prompt[None], [Part((40, 72), (0, 0))], STRIDE
    before = guide.decode_parts(*arguments)
    encoder, size = dummy_sam.image_encoder, guide.image_size
    try:
        guide.release_encoder()
        assert guide.image_size == size and not list(guide.sam.image_encoder.parameters())
        torch.testing.assert_close(guide.decode_parts(*arguments), before)
    finally:
        dummy_sam.image_encoder = encoder


def test_parts_of_several_images_are_decoded_together_as_one_by_one(dummy_sam):
    guide, sizes, firsts = SAMGuide(dummy_sam), [(48, 48), (40, 72)], [(8, 12), (16, 0)]
    embeddings = torch.cat([guide.encode(torch.randn(1, 1, *size)) for size in sizes])
    prompts, parts = torch.randn(2, 3, 256, 3, 5), [Part(*each) for each in zip(sizes, firsts, strict=True)]
    together = guide.decode_parts(embeddings, prompts, parts, STRIDE)
    for number, part in enumerate(parts):
        one = slice(number, number + 1)
        alone = guide.decode_parts(embeddings[one], prompts[one], [part], STRIDE)
        torch.testing.assert_close(together[one], alone, atol=1e-5, rtol=1e-4)
