"""Tiles, weights and logits equal nnU-Net's predictor."""

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from torch import nn

from ser_nnunet.errors import UserError
from ser_nnunet.runtime import sliding_window
from ser_nnunet.runtime.sliding_window import SlidingWindow, mirrorings
from ser_nnunet.runtime.tiles import gaussian_weights, tile_starts
from tests.runtime.toy import plan, volume


@pytest.mark.parametrize("step", [0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize(("size", "tile"), [(12, 12), (13, 12), (18, 12), (110, 64), (256, 100), (24, 12)])
def test_tiles_begin_where_nnunets_do(size, tile, step):
    assert tile_starts(size, tile, step) == compute_steps_for_sliding_window((size,), (tile,), step)[0]


@pytest.mark.parametrize("tile", [(16, 12), (7, 40), (8, 20, 12), (64, 64, 64)])
def test_the_weights_are_nnunets(tile):
    expected = compute_gaussian(tile, value_scaling_factor=10, device=torch.device("cpu"))
    assert (gaussian_weights(tile) == expected.float().numpy()).all()


def network(dimension, channels=2, heads=3):
    """Not symmetric, depends on the position in the tile (padding), and no constant output for constant input."""
    torch.manual_seed(0)
    convolution = nn.Conv2d if dimension == 2 else nn.Conv3d
    layers = convolution(channels, 4, 5, padding=2), nn.LeakyReLU(), convolution(4, heads, 3, padding=1)
    return nn.Sequential(*layers).eval()


def as_engine(module):
    def run(batch):
        with torch.inference_mode():
            return module(torch.from_numpy(batch)).numpy()

    return run


CASES = [((16, 12), (5, 30, 20)), ((16, 12), (3, 10, 20)), ((8, 16, 12), (12, 30, 20)), ((8, 16, 12), (5, 16, 9))]


@pytest.mark.parametrize("mirror", [(), (0,), (0, 1)])
@pytest.mark.parametrize(("patch", "shape"), CASES)
def test_logits_equal_nnunets(patch, shape, mirror):
    planned, step = plan(patch=patch, schemes=("ZScoreNormalization",) * 2, masks=(False, False)), 0.6
    module, image = network(len(patch)), volume(shape, channels=2, border=1) / 50
    predictor = nnUNetPredictor(step, use_mirroring=bool(mirror), device=torch.device("cpu"), allow_tqdm=False)
    managers = planned.plans_manager, planned.configuration_manager
    second = {name: 0.7 * value for name, value in module.state_dict().items()}
    weights = [{name: value.clone() for name, value in module.state_dict().items()}, second]
    predictor.manual_initialization(module, *managers, weights, planned.dataset_json, "Trainer", mirror)
    expected = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(image)).float().numpy()
    window = SlidingWindow(image, patch, heads=3, step=step, mirror_axes=mirror)
    for each in weights:
        module.load_state_dict(each)
        window.add(as_engine(module))
    found = window.logits().astype(np.float32)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max(), "float16 rounds to 5e-4"
    assert (found == expected).mean() > 0.95, "rounded where nnU-Net rounds"


def test_several_networks_are_averaged():
    image = volume((2, 20, 16), border=0) / 50
    settings = {"heads": 1, "step": 0.5, "precision": np.float32}
    first, second = (SlidingWindow(image, (16, 12), **settings) for _ in range(2))
    for network_of_one in (lambda batch: batch, lambda batch: 3 * batch):
        first.add(network_of_one)
    second.add(lambda batch: 2 * batch)
    assert np.allclose(first.logits(), second.logits(), rtol=1e-5)


def test_logits_beyond_float16_are_refused():
    window = SlidingWindow(volume((2, 20, 16), border=0), (16, 12), heads=1, step=0.5)
    with pytest.raises(UserError, match="exceed 6500"):
        window.add(lambda batch: 100 * batch)


def test_float32_sums_are_as_precise_as_the_network():
    image = volume((2, 20, 16), border=0) / 50
    window = SlidingWindow(image, (16, 12), heads=1, step=0.5, precision=np.float32)
    window.add(lambda batch: 2 * batch)
    assert np.allclose(window.logits(), 2 * image, rtol=1e-5)


def test_progress_counts_every_tile():
    window, counts = SlidingWindow(volume((3, 20, 16), border=0), (16, 12), 1, 0.5, (0,)), []
    window.add(lambda batch: batch, counts.append)
    assert sum(counts) == len(window.tiles) == 3 * 2 * 2


def test_tiles_of_one_value_are_computed_once_and_give_the_same_logits(monkeypatch):
    image = volume((6, 32, 24), channels=2, border=0) / 50
    image[:, 2:5] = np.array([0.0, 1.5], np.float32).reshape(2, 1, 1, 1)  # three slices of background
    image[:, 5] = np.array([1.0, -1.0], np.float32).reshape(2, 1, 1)  # one of another
    monkeypatch.setattr(sliding_window, "BATCH_VOXELS", 1)  # batches of one tile
    calls, module = [], network(2)

    def counting(batch):
        calls.append(batch.copy())
        return as_engine(module)(batch)

    window = SlidingWindow(image, (16, 12), 3, 0.5)
    window.add(counting)
    assert len(window.tiles) == 6 * 9 and len(calls) == 2 * 9 + 2
    every_tile = SlidingWindow(
        image + np.float32(1e-6) * np.indices(image.shape)[3].astype(np.float32), (16, 12), 3, 0.5
    )
    every_tile.add(as_engine(module))
    assert np.allclose(window.logits(), every_tile.logits(), rtol=4e-3, atol=1e-3)


def test_mirrorings_are_every_combination_of_the_axes():
    assert mirrorings(()) == [()]
    assert mirrorings((0, 1)) == [(), (0,), (1,), (0, 1)]
    assert len(mirrorings((0, 1, 2))) == 8
