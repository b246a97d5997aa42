"""Regions follow the image, blobs show in it, and every image yields as many masks as asked for."""

import numpy as np
import pytest

from ser_nnunet.benchmark.proxy_sam import region_masks


def two_halves():
    """An image whose left half is dark and whose right half is bright."""
    image = np.full((24, 32), 0.2)
    image[:, 16:] = 0.8
    return image


@pytest.mark.parametrize("draw", [region_masks.draw_intensity_band, region_masks.draw_tissue])
@pytest.mark.parametrize("seed", range(5))
def test_regions_end_at_the_edge_between_two_halves(draw, seed):
    rng = np.random.default_rng(seed)
    mask = draw(two_halves() + rng.normal(0, 0.01, (24, 32)), rng)
    assert mask.dtype == bool and mask.shape == (24, 32) and mask.any()
    left, right = mask[:, :13].mean(), mask[:, 19:].mean()
    assert min(left, right) == 0


def test_superpixels_end_at_edges_and_neighbours_across_an_edge_are_joined_whole():
    rows, columns = np.mgrid[:24, :32]
    bright, crossing = columns > 9 + rows / 2, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        mask = region_masks.draw_superpixels(np.where(bright, 0.8, 0.2) + rng.normal(0, 0.01, (24, 32)), rng)
        smaller_part = min((mask & bright).sum(), (mask & ~bright).sum())
        assert smaller_part == 0 or smaller_part > 12, f"seed {seed}: a superpixel reaches over the edge"
        crossing += smaller_part > 0
    assert 0 < crossing < 20


def test_a_blob_shows_in_the_image_that_it_is_painted_into():
    rng = np.random.default_rng(0)
    mask = np.zeros((24, 32), bool)
    mask[8:14, 10:20] = True
    painted = region_masks.paint_region(np.full((24, 32), 0.5), mask, rng)
    assert abs(painted[mask].mean() - 0.5) > 0.1
    assert painted[0, 0] == 0.5
    assert painted.min() >= 0 and painted.max() <= 1


@pytest.mark.parametrize("grey", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_blob_shows_on_every_background(grey, seed):
    """Black gets brighter and white darker: an invisible region could not be learnt."""
    rng = np.random.default_rng(seed)
    ground = np.full((24, 32), grey)
    mask = region_masks.draw_blob(ground, rng)
    assert np.abs(region_masks.paint_region(ground, mask, rng) - ground)[mask].max() > 0.05


@pytest.mark.parametrize("image", [two_halves(), np.zeros((24, 32))], ids=["halves", "air"])
def test_every_image_yields_as_many_masks_as_asked_for(image):
    _, masks = region_masks.draw_masks(image, 4, np.random.default_rng(1))
    assert masks.shape == (4, 24, 32)
    assert all(region_masks.SMALLEST <= mask.sum() <= region_masks.LARGEST * mask.size for mask in masks)
