"""The dummy SAM has SAM's parts, tensor names and interfaces; only its size and its random weights differ."""

import pytest
import torch
from segment_anything import SamPredictor

from ser_nnunet.sam.dummy_sam import build_dummy_sam, write_dummy_sam


def test_its_file_loads_strictly_into_the_same_architecture_and_the_seed_decides_the_weights(tmp_path):
    state = torch.load(write_dummy_sam(tmp_path / "sam" / "dummy_sam.pth", seed=3), weights_only=True)
    build_dummy_sam(seed=4).load_state_dict(state, strict=True)
    assert all(torch.equal(value, state[name]) for name, value in build_dummy_sam(seed=3).state_dict().items())
    assert not torch.equal(
        build_dummy_sam(seed=4).mask_decoder.iou_token.weight, state["mask_decoder.iou_token.weight"]
    )


def test_building_it_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    build_dummy_sam()
    assert torch.equal(torch.rand(3), expected)


def test_sam_predictor_works_with_it():
    predictor = SamPredictor(build_dummy_sam())
    predictor.set_torch_image(torch.rand(1, 3, 256, 160) * 255, (128, 80))
    masks, scores, low_resolution = predictor.predict_torch(None, None, return_logits=True)
    assert masks.shape == (1, 3, 128, 80)
    assert scores.shape == (1, 3)
    assert low_resolution.shape == (1, 3, 64, 64)
    assert masks.std() > 0


@pytest.mark.parametrize("global_block", [0, 2])
def test_sizes_are_arguments(global_block):
    sam = build_dummy_sam(
        embed_dim=48, depth=3, num_heads=3, image_size=128, window_size=5, global_attn_indexes=(global_block,)
    )
    assert [block.window_size for block in sam.image_encoder.blocks] == [
        0 if i == global_block else 5 for i in range(3)
    ]
    assert sam.image_encoder(torch.rand(2, 3, 128, 128)).shape == (2, 256, 8, 8)
