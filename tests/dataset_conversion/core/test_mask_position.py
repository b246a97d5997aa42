"""A mask that was flipped or turned is recognised in any contrast, and nothing is said without evidence."""

from __future__ import annotations

import numpy as np
import pytest

from ser_nnunet.dataset_conversion.core.mask_position import find_better_position, measure_information

rng = np.random.default_rng(0)
LABEL = np.zeros((16, 20, 20), np.uint8)
LABEL[2:6, 3:9, 4:12] = 1
LABEL[3:5, 4:6, 5:10] = 2
DARK_AND_BRIGHT = np.choose(LABEL, (100, 60, 180)) + rng.normal(0, 15, LABEL.shape)


@pytest.mark.parametrize(
    ("moved", "words"),
    [
        (LABEL[::-1], "flipped along z"),
        (LABEL[:, ::-1, ::-1], "flipped along y and x"),
        (LABEL.swapaxes(1, 2), "with x and y swapped"),
    ],
)
def test_a_moved_label_is_recognised(moved: np.ndarray, words: str):
    text = find_better_position(DARK_AND_BRIGHT, np.ascontiguousarray(moved))
    assert text.startswith(f"{words} it would fit the image better")


def test_a_label_in_its_place_is_not_reported():
    assert find_better_position(DARK_AND_BRIGHT, LABEL) == ""


def test_an_image_that_has_nothing_to_do_with_the_label_is_no_evidence():
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(size=LABEL.shape)
        assert find_better_position(noise, LABEL) == ""


def test_voxels_that_are_not_annotated_are_left_out():
    flipped = LABEL[::-1].copy()
    flipped[:, 12:] = 3
    assert find_better_position(DARK_AND_BRIGHT, flipped, ignore=3).startswith("flipped along z")
    assert find_better_position(DARK_AND_BRIGHT, np.full_like(LABEL, 3), ignore=3) == ""


def test_empty_labels_and_images_with_nan_are_left_to_other_checks():
    assert find_better_position(DARK_AND_BRIGHT, LABEL * 0) == ""
    assert find_better_position(DARK_AND_BRIGHT * np.nan, LABEL[::-1].copy()) == ""


def test_information_is_that_of_a_known_case_and_0_for_chance():
    classes = np.repeat([0, 1], 5000)
    assert measure_information(classes * 100.0 + rng.normal(size=10000), classes) == pytest.approx(np.log(2), abs=2e-3)
    assert measure_information(rng.normal(size=10000), classes) == pytest.approx(0, abs=2e-3)
