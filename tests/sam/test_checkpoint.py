"""Any checkpoint of SAM's architecture loads by its weights alone; other files are refused with what to do."""

import re
import sys

import pytest
import torch
from segment_anything import sam_model_registry

from ser_nnunet.errors import UserError
from ser_nnunet.sam.architecture import build, read_architecture
from ser_nnunet.sam.checkpoint import CheckpointError, inspect_checkpoint, load_sam
from ser_nnunet.sam.dummy_sam import build_dummy_sam


def assert_same_weights(left, right):
    assert left.state_dict().keys() == right.state_dict().keys()
    for key, value in right.state_dict().items():
        assert torch.equal(left.state_dict()[key], value), key


@pytest.mark.parametrize(
    "sizes",
    [
        {"image_size": 128},
        {"embed_dim": 48, "depth": 3, "num_heads": 4, "global_attn_indexes": (0, 2), "window_size": 3},
        {"embed_dim": 64, "depth": 1, "num_heads": 1, "global_attn_indexes": (0,), "image_size": 64},
    ],
)
def test_sizes_are_read_from_the_weights(sizes, tmp_path):
    sam = build_dummy_sam(seed=1, **sizes)
    torch.save(sam.state_dict(), tmp_path / "any_name.pt")
    loaded = load_sam(tmp_path / "any_name.pt")
    assert_same_weights(loaded, sam)
    picture = torch.randn(1, 3, sam.image_encoder.img_size, sam.image_encoder.img_size)
    with torch.no_grad():
        torch.testing.assert_close(loaded.image_encoder(picture), sam.image_encoder(picture))


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_registry_models_are_rebuilt_exactly(name):
    """On the meta device (no memory): module tree, shapes, heads, windows and normalisation of the registry's model."""
    with torch.device("meta"):
        official = sam_model_registry[name]()
        ours = build(read_architecture(official.state_dict()))
    assert repr(ours) == repr(official)
    shapes = {key: value.shape for key, value in official.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == shapes
    for mine, theirs in zip(ours.image_encoder.blocks, official.image_encoder.blocks, strict=True):
        assert (mine.window_size, mine.attn.num_heads) == (theirs.window_size, theirs.attn.num_heads)
    heads = [layer.self_attn.num_heads for layer in ours.mask_decoder.transformer.layers]
    assert heads == [layer.self_attn.num_heads for layer in official.mask_decoder.transformer.layers]
    assert ours.prompt_encoder.input_image_size == official.prompt_encoder.input_image_size


def test_pixel_normalisation_is_the_registrys(dummy_checkpoint):
    """Mean and deviation aren't stored in checkpoints."""
    official = sam_model_registry["vit_b"]
    loaded = load_sam(dummy_checkpoint)
    with torch.device("cpu"):
        reference = official().pixel_mean, official().pixel_std
    assert torch.equal(loaded.pixel_mean, reference[0]) and torch.equal(loaded.pixel_std, reference[1])


@pytest.mark.parametrize(
    "wrap", [lambda w: {"model": w, "epoch": 3}, lambda w: {f"module.{key}": value for key, value in w.items()}]
)
def test_fine_tuned_checkpoints_load_alike(dummy_sam, tmp_path, wrap):
    torch.save(wrap(dummy_sam.state_dict()), tmp_path / "tuned.pth")
    assert_same_weights(load_sam(tmp_path / "tuned.pth"), dummy_sam)


def test_loaded_model_is_frozen(dummy_checkpoint):
    sam = load_sam(dummy_checkpoint)
    assert not sam.training and not any(parameter.requires_grad for parameter in sam.parameters())


def test_position_embeddings_are_interpolated_to_another_image_size(dummy_sam, tmp_path):
    """Interpolated from 128 to 64 pixels; a constant embedding stays constant, windows keep theirs."""
    weights = {key: value.clone() for key, value in dummy_sam.state_dict().items()}
    weights["image_encoder.pos_embed"].fill_(0.25)
    torch.save(weights, tmp_path / "sam.pth")
    sam = load_sam(tmp_path / "sam.pth", image_size=64)
    assert sam.image_encoder.img_size == 64 and sam.prompt_encoder.image_embedding_size == (4, 4)
    torch.testing.assert_close(sam.image_encoder.pos_embed, torch.full((1, 4, 4, 32), 0.25))
    key = "image_encoder.blocks.0.attn.rel_pos_h"
    assert torch.equal(sam.state_dict()[key], weights[key])
    assert sam.image_encoder(torch.zeros(1, 3, 64, 64)).shape == (1, 256, 4, 4)


def test_relative_positions_are_resampled_as_sams_attention_would(dummy_sam, tmp_path):
    from segment_anything.modeling.image_encoder import get_rel_pos

    torch.save(dummy_sam.state_dict(), tmp_path / "sam.pth")
    key = "image_encoder.blocks.1.attn.rel_pos_h"
    original, resampled = dummy_sam.state_dict()[key], load_sam(tmp_path / "sam.pth", image_size=64).state_dict()[key]
    torch.testing.assert_close(get_rel_pos(4, 4, resampled), get_rel_pos(4, 4, original))


class Malicious:
    def __reduce__(self):
        return print, ("code in a checkpoint was run",)


def test_bad_files_are_refused_with_their_name_and_where_to_get_a_good_one(dummy_checkpoint, tmp_path, capsys):
    content = dummy_checkpoint.read_bytes()
    (tmp_path / "truncated.pth").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.pth").write_bytes(b"")
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "foreign.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(Malicious(), tmp_path / "malicious.pth")
    for name, message in {
        "absent.pth": "no such file",
        "truncated.pth": r"can't be read .* \(9\.\d MB\).*may be truncated",
        "empty.pth": "can't be read",
        "foreign.pth": r"no checkpoint of SAM's architecture.*expected, 1 tensors \(conv.weight",
        "list.pth": "a state dict expected, a list found",
        "malicious.pth": "can't be read",
    }.items():
        with pytest.raises(CheckpointError, match=message) as error:
            load_sam(tmp_path / name)
        assert str(tmp_path / name) in str(error.value), "the message names the file"
        assert "https://" in str(error.value), "and says where to get a good one"
    assert "was run" not in capsys.readouterr().out


def test_missing_and_misshapen_tensors_are_listed_together(dummy_sam, tmp_path):
    weights = dict(dummy_sam.state_dict())
    del weights["mask_decoder.iou_token.weight"]
    weights["prompt_encoder.no_mask_embed.weight"] = torch.zeros(1, 7)
    torch.save(weights, tmp_path / "damaged.pth")
    with pytest.raises(CheckpointError) as error:
        load_sam(tmp_path / "damaged.pth")
    assert "missing mask_decoder.iou_token.weight" in str(error.value)
    assert re.search(r"no_mask_embed.weight: shape \(1, 256\) expected, \(1, 7\) found", str(error.value))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda value: torch.full_like(value, float("nan")), r"\d+ of \d+ numbers are NaN or Inf"),
        (lambda value: value.index_fill(0, torch.tensor([0]), float("inf")), r"1 of \d+ numbers are NaN or Inf"),
        (lambda value: value.to(torch.int64), r"floating-point numbers expected, torch.int64 found"),
    ],
)
def test_weights_that_are_no_finite_numbers_are_refused(dummy_sam, tmp_path, damage, message):
    key = "mask_decoder.transformer.layers.0.mlp.lin1.bias"
    weights = dict(dummy_sam.state_dict())
    torch.save(weights | {key: damage(weights[key])}, tmp_path / "damaged.pth")
    for read in (load_sam, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=f"{key}: {message}"):
            read(tmp_path / "damaged.pth")


def test_an_official_name_over_other_bytes_is_refused(dummy_checkpoint, tmp_path):
    imposter = dummy_checkpoint.rename(tmp_path / "sam_vit_b_01ec64.pth")
    with pytest.raises(CheckpointError, match=r"SHA-256 begins with [0-9a-f]{6}, 01ec64 expected"):
        load_sam(imposter)


@pytest.mark.parametrize("image_size", [0, 100, 8])
def test_an_impossible_image_size_is_refused(dummy_checkpoint, image_size):
    with pytest.raises(CheckpointError, match="multiple of its patch size 16"):
        load_sam(dummy_checkpoint, image_size=image_size)


def test_without_segment_anything_the_message_says_how_to_install_it(dummy_checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "segment_anything.modeling", None)
    with pytest.raises(CheckpointError, match=r"pip install 'ser-nnunet\[sam\]'"):
        load_sam(dummy_checkpoint)
    with pytest.raises(UserError, match=r"dummy SAM needs segment-anything.*pip install 'ser-nnunet\[sam\]'"):
        build_dummy_sam()
