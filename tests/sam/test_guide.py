"""SAMGuide gives the masks of segment_anything's own predictor, and gradients for the prompt alone."""

import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry
from torch.nn.functional import interpolate

from ser_nnunet.sam.checkpoint import load_sam
from ser_nnunet.sam.guide import SAMGuide
from ser_nnunet.sam.picture import to_rgb

SHAPES = [(48, 48), (40, 72), (90, 33), (128, 128), (200, 160)]


def predictor_logits(sam, patch, channels):
    """Return the logits of `SamPredictor`'s tensor path without prompts for each slice, `(B, 1, H, W)`."""
    predictor = SamPredictor(sam)
    masks = []
    for picture in to_rgb(patch, channels):
        size = predictor.transform.get_preprocess_shape(*patch.shape[2:], sam.image_encoder.img_size)
        resized = interpolate(picture[None], size, mode="bilinear", align_corners=False, antialias=True)
        predictor.set_torch_image(resized, tuple(patch.shape[2:]))
        masks.append(predictor.predict_torch(None, None, multimask_output=False, return_logits=True)[0])
    return torch.cat(masks)


def no_mask_prompt(sam, batch, prompts, grid):
    weight = sam.prompt_encoder.no_mask_embed.weight.detach()
    return weight.reshape(1, 1, -1, 1, 1).expand(batch, prompts, -1, *grid).clone()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [(0,), (2, 0, 1)])
def test_no_mask_embedding_as_prompt_equals_sam_predictor(dummy_sam, shape, channels):
    patch = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0)) * 5
    prompt = no_mask_prompt(dummy_sam, 2, 1, (shape[0] // 4, shape[1] // 4))
    logits = SAMGuide(dummy_sam)(patch, prompt, channels)
    expected = predictor_logits(dummy_sam, patch, channels)
    assert logits.shape == (2, 1, *shape)
    assert expected.std() > 1e-3, "two constant masks would always be equal"
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def vit_b(tmp_path_factory):
    """ViT-B as the registry builds it (random weights), saved, and loaded by our loader at 256 pixels."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("sam") / "vit_b.pth"
    torch.save(sam_model_registry["vit_b"]().state_dict(), path)
    return load_sam(path, image_size=256)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(64, 64), (48, 80), (80, 48)])
def test_the_real_vit_b_architecture_equals_sam_predictor(vit_b, shape):
    patch = torch.randn(1, 1, *shape)
    logits = SAMGuide(vit_b)(patch, no_mask_prompt(vit_b, 1, 1, (16, 16)))
    torch.testing.assert_close(logits, predictor_logits(vit_b, patch, (0,)), atol=1e-4, rtol=0)


def test_several_images_and_prompts_at_once_equal_one_at_a_time(dummy_sam):
    guide = SAMGuide(dummy_sam)
    patch, prompt = torch.randn(3, 1, 40, 56), torch.randn(3, 2, 256, 10, 14)
    together = guide(patch, prompt)
    for image in range(3):
        for number in range(2):
            alone = guide(patch[image : image + 1], prompt[image : image + 1, number : number + 1])
            torch.testing.assert_close(together[image, number], alone[0, 0], atol=1e-5, rtol=1e-4)


def test_gradients_reach_the_prompt_and_nothing_else(dummy_sam):
    patch = torch.randn(1, 1, 32, 48, requires_grad=True)
    prompt = torch.randn(1, 1, 256, 8, 12, requires_grad=True)
    SAMGuide(dummy_sam)(patch, prompt).square().sum().backward()
    assert (prompt.grad.abs().sum(dim=2) > 0).all(), "every cell of the prompt's grid matters"
    assert patch.grad is None
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in dummy_sam.parameters())
    assert not dummy_sam.training


def test_prompts_cover_the_image_and_the_no_mask_embedding_the_rest(dummy_sam):
    """A wide patch fills the upper half of SAM's square; SAM's no-mask embedding fills the rest."""
    placed = SAMGuide(dummy_sam).place_prompts(torch.ones(1, 1, 256, 4, 8), (64, 128))
    empty = dummy_sam.prompt_encoder.no_mask_embed.weight.detach()[0]
    assert placed.shape == (1, 1, 256, 8, 8)
    torch.testing.assert_close(placed[0, 0, :, :4], torch.ones(256, 4, 8))
    torch.testing.assert_close(placed[0, 0, :, 4:], empty[:, None, None].expand(-1, 4, 8))
