"""Resampling equals nnU-Net's, for images and logits, to float32's rounding."""

import numpy as np
import pytest
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, resample_data_or_seg_to_shape
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet

from ser_nnunet.runtime.recipe import Resampling
from ser_nnunet.runtime.resampling import new_shape, resample

# Spacing, target spacing, shape: isotropic; thick slices kept, resampled or halved; two thick axes; thick slices last.
GRIDS = [
    ((1, 1, 1), (1.3, 0.8, 1), (20, 25, 22)),
    ((6, 0.9, 0.9), (6, 0.7, 1.2), (10, 30, 32)),
    ((6, 0.9, 0.9), (4, 0.7, 1.2), (10, 30, 32)),
    ((1, 1, 1), (4, 1, 1.2), (30, 25, 20)),
    ((0.5, 3, 3), (1, 1, 1), (30, 10, 12)),
    ((0.9, 0.9, 6), (1.0, 1.0, 5), (30, 25, 10)),
    ((999, 1, 1), (999, 2, 1.5), (1, 25, 30)),
]
TOLERANCE = 5e-6  # of images of unit deviation; nnU-Net computes in float64 and rounds to float32 (3e-7)


def noise(shape):
    return np.random.default_rng(0).normal(0, 1, (2, *shape)).astype(np.float32)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("separate", [None, False, True])
@pytest.mark.parametrize(("spacing", "target", "shape"), GRIDS)
def test_it_equals_nnunets(spacing, target, shape, separate, order):
    data, rule = noise(shape), Resampling(order, 0, separate)
    size = new_shape(shape, spacing, target)
    assert size == tuple(compute_new_shape(shape, spacing, target))
    settings = {"order": order, "order_z": 0, "force_separate_z": separate}
    expected = resample_data_or_seg_to_shape(data, size, spacing, target, **settings)
    found = np.stack([resample(channel, size, spacing, target, rule) for channel in data])
    assert found.dtype == np.float32 and found.shape == expected.shape
    assert np.abs(found - expected).max() < TOLERANCE


@pytest.mark.parametrize(("spacing", "target", "shape"), GRIDS)
def test_linear_interpolation_between_thick_slices_equals_nnunets(spacing, target, shape):
    data, size = noise(shape), new_shape(shape, spacing, target)
    settings = {"order": 3, "order_z": 1, "force_separate_z": None}
    expected = resample_data_or_seg_to_shape(data, size, spacing, target, **settings)
    found = np.stack([resample(channel, size, spacing, target, Resampling(3, 1, None)) for channel in data])
    assert np.abs(found - expected).max() < TOLERANCE


@pytest.mark.parametrize("separate", [None, False, True])
@pytest.mark.parametrize(("spacing", "target", "shape"), GRIDS)
def test_order_1_equals_nnunets_torch_variant(spacing, target, shape, separate):
    data, size = noise(shape), new_shape(shape, spacing, target)
    expected = resample_torch_fornnunet(data, size, spacing, target, force_separate_z=separate)
    rule = Resampling(1, 0, separate, keeps_precision=False)
    found = np.stack([resample(channel, size, spacing, target, rule) for channel in data])
    assert np.abs(found - expected).max() < 1e-4, "torch computes its weights in float32"


@pytest.mark.parametrize(("old", "new"), [(14, 23), (24, 47), (30, 53), (2, 49), (10, 7), (47, 24)])
def test_thick_slices_are_the_same_ones_as_torchs(old, new):
    # One of the new slices can lie in the middle between two of the old ones: float32's rounding decides.
    numbered = np.broadcast_to(np.arange(old, dtype=np.float32)[:, None, None], (old, 2, 3))
    spacings = ((6, 1, 1), (6 * old / new, 1, 1))
    expected = resample_torch_fornnunet(numbered[None].copy(), (new, 2, 3), *spacings, force_separate_z=True)[0]
    found = resample(numbered, (new, 2, 3), *spacings, Resampling(1, 0, True, keeps_precision=False))
    assert (found == expected).all()


def test_overshoots_are_clipped_to_the_range_of_the_slice():
    step = np.zeros((2, 1, 8), np.float32)
    step[0, :, 4:], step[1, :, 4:] = 1, 9
    settings = ((6, 1, 1), (6, 1, 0.5), Resampling(3, 0, None))
    fine = resample(step, (2, 1, 16), *settings)
    assert (fine[0].min(), fine[0].max(), fine[1].min(), fine[1].max()) == (0, 1, 0, 9)


def test_the_same_grid_and_resampling_switched_off_return_the_array():
    data = noise((3, 4, 5))[0]
    assert resample(data, (3, 4, 5), (1, 1, 1), (1, 1, 1), Resampling(3)) is data
    assert resample(data, (6, 8, 5), (2, 2, 1), (1, 1, 1), Resampling(0, off=True)) is data


def test_logits_in_float16_stay_so_as_in_nnunets_function_but_not_in_its_torch_variant():
    logits = noise((3, 8, 9))[0].astype(np.float16)
    arguments = ((3, 11, 12), (1, 1, 1), (1, 0.75, 0.75))
    kept, widened = (resample(logits, *arguments, Resampling(1, keeps_precision=keeps)) for keeps in (True, False))
    assert (kept.dtype, widened.dtype) == (np.float16, np.float32)
    settings = {"order": 1, "order_z": 0, "force_separate_z": None}
    expected = resample_data_or_seg_to_shape(logits[None], *arguments, **settings)[0]
    assert expected.dtype == np.float16 and (kept == expected).mean() > 0.98  # the rest lies between two numbers
