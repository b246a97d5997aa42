"""Preprocessing equals nnU-Net's `DefaultPreprocessor`, and its reversal puts masks back."""

import numpy as np
import pytest
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from scipy.ndimage import binary_fill_holes

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.normalization import SCHEMES
from ser_nnunet.runtime.preprocessing import bounding_box, fill_holes, preprocess, restore
from ser_nnunet.runtime.scan import Scan
from tests.runtime.toy import plan, recipe, volume

ALL_SCHEMES = {"schemes": tuple(SCHEMES), "masks": (True, False, False, False, False)}


def nnunets(planned, image, spacing):
    preprocessor = DefaultPreprocessor(verbose=False)
    arguments = (planned.plans_manager, planned.configuration_manager, planned.dataset_json)
    data, _, properties = preprocessor.run_case_npy(image, None, {"spacing": list(spacing)}, *arguments)
    return data, properties


@pytest.mark.parametrize(
    ("settings", "spacing"),
    [
        (ALL_SCHEMES, (1.0, 1.0, 1.0)),
        (ALL_SCHEMES | {"spacing": (0.8, 1.3)}, (1.0, 1.0, 1.0)),
        (ALL_SCHEMES | {"spacing": (0.8, 1.3)}, (5.0, 1.0, 1.0)),
        (ALL_SCHEMES | {"patch": (8, 16, 12), "spacing": (1.5, 0.8, 1.3)}, (1.0, 1.0, 1.0)),
        (ALL_SCHEMES | {"patch": (8, 16, 12), "spacing": (4.0, 0.8, 1.3)}, (5.0, 1.0, 1.0)),
        ({"transpose": (2, 0, 1), "spacing": (1.2, 0.9)}, (1.0, 0.8, 4.0)),
        ({"transpose": (1, 2, 0), "patch": (8, 16, 12), "spacing": (1.2, 0.9, 2.0)}, (1.0, 0.8, 4.0)),
        ({"resampling": "resample_torch_fornnunet", "kwargs": {"is_seg": False}, "spacing": (0.7, 0.9)}, (1, 1, 1)),
        ({"resampling": "no_resampling_hack", "kwargs": {}, "spacing": (0.7, 0.9)}, (1.0, 1.0, 1.0)),
    ],
)
def test_it_equals_nnunets(settings, spacing):
    if settings.get("resampling") == "no_resampling_hack":
        planned = plan(**settings)
        for key in ("resampling_fn_data_kwargs", "resampling_fn_probabilities_kwargs"):
            planned.plans["configurations"]["2d"][key] = {}
    else:
        planned = plan(**settings)
    image = volume(channels=planned.channels)
    image[:, :, :8, :7] = 0  # a corner of the box that is outside, also for the mask of a normalisation
    image[:, 4, 12:14, 12:14] = 0  # a hole, which counts as inside
    expected, properties = nnunets(planned, image, spacing)
    case = preprocess(Scan(image, tuple(spacing)), recipe(planned))
    assert case.voxels.shape == expected.shape and case.voxels.dtype == np.float32
    assert [[part.start, part.stop] for part in case.crop] == properties["bbox_used_for_cropping"]
    assert np.abs(case.voxels - expected).max() < 1e-4 * max(1, np.abs(expected).max())
    assert image.max() > 90, "the scan is left as it was"


def test_masks_return_to_where_the_crop_was():
    image = volume()
    image[:, :, :5] = 0
    model = recipe(transpose=(2, 0, 1))
    case = preprocess(Scan(image, (1.0, 1.0, 1.0)), model)
    inside = image[0].transpose(2, 0, 1)[case.crop] > 100
    mask = restore(inside.astype(np.uint8), case, model)
    assert mask.dtype == np.uint8 and (mask == (image[0] > 100)).all()


def test_an_image_of_zeros_is_refused():
    with pytest.raises(UserError, match="empty"):
        preprocess(Scan(np.zeros((1, 3, 4, 5), np.float32), (1, 1, 1)), recipe())


def test_rgb_values_out_of_range_are_refused():
    model = recipe(schemes=("RGBTo01Normalization",))
    with pytest.raises(UserError, match=r"0 to 255, found -3 to 7"):
        preprocess(Scan(np.array([[[[-3, 7]]]], np.float32), (1, 1, 1)), model)


def test_the_box_and_the_holes():
    mask = np.zeros((4, 5, 6), bool)
    mask[1:4, 1:4, 2:5] = True
    assert bounding_box(mask) == (slice(1, 4), slice(1, 4), slice(2, 5))
    assert bounding_box(np.zeros((2, 2, 2), bool)) is None
    opened = mask.copy()
    opened[2, 2, 3] = opened[3, 2, 3] = False  # the second voxel lies on the border and opens the first to the outside
    assert (fill_holes(opened) == opened).all()
    opened[3, 2, 3] = True
    assert (fill_holes(opened) == mask).all()


@pytest.mark.parametrize("shape", [(6, 7, 8), (1, 12, 12)])
def test_holes_are_scipys(shape):
    mask = np.random.default_rng(3).random(shape) < 0.6
    assert (fill_holes(mask) == binary_fill_holes(mask)).all()


def test_a_slice_thinner_than_half_of_the_models_spacing_is_refused():
    image = np.zeros((1, 6, 8, 8), np.float32)
    image[:, 3, 2:6, 2:6] = 1
    planned = recipe(patch=(8, 16, 12), spacing=(3.0, 1.0, 1.0))
    with pytest.raises(UserError, match=r"\[1.0, 4.0, 4.0\] mm large.*\[3.0, 1.0, 1.0\] mm"):
        preprocess(Scan(image, (1.0, 1.0, 1.0)), planned)
