"""The proxy-sam for SAM: masks that can be pointed at, prompts that belong to them, a checkpoint like SAM's."""

import argparse

import numpy as np
import pytest
import torch

from ser_nnunet.benchmark.proxy_sam import prompts
from ser_nnunet.benchmark.proxy_sam import region_masks as drawing
from ser_nnunet.benchmark.proxy_sam import training as train
from ser_nnunet.benchmark.proxy_sam.training_slices import Pictures, draw_batch
from ser_nnunet.commands.benchmark_proxy_sam import run
from ser_nnunet.errors import UserError
from ser_nnunet.sam.checkpoint import load_sam


def two_halves():
    """A picture whose left half is dark and whose right half is bright."""
    picture = np.full((24, 32), 0.2)
    picture[:, 16:] = 0.8
    return picture


@pytest.mark.parametrize("draw", [drawing.intensity_band, drawing.tissue, drawing.superpixels])
@pytest.mark.parametrize("seed", range(5))
def test_regions_keep_to_the_edges_of_the_picture(draw, seed):
    """Far from the edge, a region holds one half, or both, or a part of one: it never bleeds over without end."""
    rng = np.random.default_rng(seed)
    mask = draw(two_halves() + rng.normal(0, 0.01, (24, 32)), rng)
    assert mask.dtype == bool and mask.shape == (24, 32) and mask.any()
    if draw is not drawing.superpixels:  # these may join neighbours across the edge
        left, right = mask[:, :13].mean(), mask[:, 19:].mean()
        assert min(left, right) == 0


def test_a_blob_shows_in_the_picture_that_it_is_painted_into():
    rng = np.random.default_rng(0)
    mask = np.zeros((24, 32), bool)
    mask[8:14, 10:20] = True
    painted = drawing.paint(np.full((24, 32), 0.5), mask, rng)
    assert abs(painted[mask].mean() - 0.5) > 0.1
    assert painted[0, 0] == 0.5
    assert painted.min() >= 0 and painted.max() <= 1


@pytest.mark.parametrize("grey", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_blob_shows_on_every_ground(grey, seed):
    """Black gets brighter and white darker: a region that nobody can see would teach noise."""
    rng = np.random.default_rng(seed)
    ground = np.full((24, 32), grey)
    mask = drawing.blob(ground, rng)
    assert np.abs(drawing.paint(ground, mask, rng) - ground)[mask].max() > 0.05


@pytest.mark.parametrize("picture", [two_halves(), np.zeros((24, 32))], ids=["halves", "air"])
def test_every_picture_yields_as_many_masks_as_asked_for(picture):
    _, masks = drawing.draw_masks(picture, 4, np.random.default_rng(1))
    assert masks.shape == (4, 24, 32)
    assert all(drawing.SMALLEST <= mask.sum() <= drawing.LARGEST * mask.size for mask in masks)


def square():
    """A 64 x 64 mask: rows 10 to 19, columns 30 to 49."""
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[0, 10:20, 30:50] = True
    return mask


def inside():
    """The picture fills the left 50 of 64 columns; the rest is padding."""
    area = torch.zeros(1, 64, 64, dtype=torch.bool)
    area[..., :50] = True
    return area


def test_points_lie_where_their_labels_say_and_never_in_the_padding():
    generator = torch.Generator().manual_seed(0)
    mask = square().expand(50, -1, -1)
    points, labels = prompts.draw_points(mask, inside().expand(50, -1, -1), 3, generator)
    for sample in range(50):
        for (x, y), label in zip(points[sample].long().tolist(), labels[sample].tolist(), strict=True):
            assert bool(mask[sample, y, x]) == bool(label) and x < 50
    assert labels[:, 0].all() and not labels.all()


def test_boxes_are_x_y_x_y_jitter_by_a_tenth_and_end_where_the_picture_ends():
    many = [part.expand(50, -1, -1) for part in (square(), inside())]
    boxes = prompts.draw_boxes(*many, torch.Generator().manual_seed(0))
    off = (boxes - torch.tensor([30.0, 10.0, 49.0, 19.0])).abs().amax(0)
    assert (off <= torch.tensor([2.0, 1.0, 2.0, 1.0])).all()
    assert boxes.std(0)[[0, 1, 3]].min() > 0 and boxes[:, 2].max() == 49


def test_mask_prompts_are_poor_copies_of_the_mask():
    logits = prompts.draw_mask_prompts(square(), 64, torch.Generator().manual_seed(0))
    assert logits.shape == (1, 1, 64, 64) and logits.abs().max() <= prompts.CERTAINTY
    overlap = train.iou(logits > 0, square()[None])
    assert 0.4 < overlap.item() < 1


@pytest.fixture(scope="module")
def small_sam():
    torch.manual_seed(0)
    return train.build(train.architecture(64)).eval()


@pytest.mark.parametrize("kind", prompts.KINDS)
def test_decoding_a_batch_equals_segment_anythings_forward(small_sam, kind):
    """`Sam.forward` takes pictures one by one: the same masks must come out of the batch."""
    pictures = torch.rand(2, 3, 64, 64) * 255
    masks = square().expand(4, -1, -1)
    generator = torch.Generator().manual_seed(0)
    sparse, dense = prompts.embed_prompts(small_sam, masks, inside().expand(4, -1, -1), kind, generator)
    with torch.no_grad():
        logits, quality = train.decode(small_sam, pictures, 2, sparse, dense)
        for index, picture in enumerate(pictures):
            mine = slice(2 * index, 2 * index + 2)
            expected, iou = small_sam.mask_decoder.predict_masks(
                small_sam.image_encoder(small_sam.preprocess(picture[None])),
                small_sam.prompt_encoder.get_dense_pe(),
                sparse[mine],
                dense[mine],
            )
            assert torch.allclose(logits[mine], expected, atol=1e-4)
            assert torch.allclose(quality[mine], iou, atol=1e-4)


def test_a_perfect_mask_costs_less_than_any_other():
    target = square()[None].float()
    perfect, shifted, empty = (target - 0.5) * 40, (target.roll(5, 3) - 0.5) * 40, torch.full_like(target, -20)
    best, worse, worst = (train.mask_losses(each, target).item() for each in (perfect, shifted, empty))
    assert best < 1e-3 < worse < worst


class Gradient(Pictures):
    """Pictures without a data set: a bright disc on a dark ground."""

    def draw(self, rng):
        rows, columns = np.mgrid[:32, :24]
        centre = rng.uniform(10, 14, 2)
        disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 36
        return np.where(disc, 0.8, 0.2) + rng.normal(0, 0.02, (32, 24)).clip(-0.1, 0.1)


def test_pictures_are_padded_as_sam_pads_them(small_sam):
    """Training must see what guidance shows: `Sam.preprocess` pads with zeros after its normalisation."""
    batch = draw_batch([Gradient(None, (), (32, 24))], 2, 3, 64, np.random.default_rng(0))
    assert batch.pictures.shape == (2, 3, 64, 64) and batch.masks.shape == (2, 3, 64, 64)
    assert torch.equal(batch.inside, torch.arange(64).expand(2, 64, 64) < 48)
    assert not (batch.masks & ~batch.inside[:, None]).any() and batch.masks.flatten(2).any(2).all()
    shown = small_sam.preprocess(batch.pictures[..., :48])
    assert torch.allclose(small_sam.preprocess(batch.pictures), shown, atol=1e-5)


def test_regions_survive_where_pictures_shrink():
    class Large(Gradient):
        def draw(self, rng):
            return np.kron(super().draw(rng), np.ones((8, 8)))

    batch = draw_batch([Large(None, (), (256, 192))], 3, 4, 64, np.random.default_rng(0))
    assert batch.masks.flatten(2).any(2).all()


@pytest.mark.slow
def test_it_learns_to_follow_prompts():
    """Boxes and masks say what is meant: a few steps on one shape must lift the overlap from nothing."""
    history = [progress for _, progress in train.train([Gradient(None, (), (32, 24))], 60, 64, seed=0)]
    mask_prompts = [each.overlap for each in history if each.kind == "mask"]
    assert np.mean(mask_prompts[-3:]) > np.mean(mask_prompts[:3]) + 0.2


def test_wrong_arguments_are_all_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    (tmp_path / "Dataset001_Empty").mkdir()
    args = argparse.Namespace(d=["1"], f=0, p="nnUNetPlans", steps=0, image_size=100, seed=0, o=tmp_path / "out")
    with pytest.raises(UserError) as caught:
        run(args)
    for expected in ("--steps", "--image-size", "nnUNetPlans.json is missing"):
        assert expected in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_checkpoint_is_loaded_by_the_ordinary_code(small_sam, tmp_path):
    torch.save(small_sam.state_dict(), tmp_path / "proxy_sam.pth")
    loaded = load_sam(tmp_path / "proxy_sam.pth")
    picture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.image_encoder(picture), small_sam.image_encoder(picture))
