"""Which slices of a batch pass through SAM."""

import pytest
import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from ser_nnunet.training.slices import choose_slices, slicing_axes, spread

IGNORING = LabelManager({"background": 0, "one": 1, "ignore": 2}, None)


def batch_of(kinds):
    """A batch of 2 x 2 slices: f with foreground, b background alone, i wholly ignored, x foreground but ignored."""
    targets = torch.zeros(len(kinds), 2, 2, 2, dtype=torch.bool)
    for index, kind in enumerate(kinds):
        targets[index, 0, 0, 0] = kind in "fx"
        targets[index, 1] = kind in "ix"
    return targets


@pytest.mark.parametrize(
    ("kinds", "limit", "expected"),
    [
        ("bfbf", 1, [3]),  # one slice: foreground
        ("ffffff", 4, [2, 3, 4, 5]),  # nothing but foreground: nnU-Net's oversampled slices, which come last
        ("bbfbff", 4, [2, 3, 4, 5]),  # round(0.85 * 4) = 3 with foreground, one without
        ("bbfb", 3, [1, 2, 3]),  # too little foreground: background fills up
        ("ibif", 2, [1, 3]),  # ignored slices come last
        ("xb", 1, [1]),  # ignored foreground is none
        ("ii", 1, [1]),  # but never an empty choice
        ("fb", 8, [0, 1]),  # fewer slices than allowed
    ],
)
def test_slices_with_foreground_come_first(kinds, limit, expected):
    assert choose_slices(batch_of(kinds), IGNORING, limit).tolist() == expected


@pytest.mark.parametrize(
    ("spacing", "axes"),
    [
        ((1.0, 1.0, 1.0), (0, 1, 2)),
        ((1.5, 0.8, 0.8), (0, 1, 2)),  # nnU-Net convolves across these slices from the start
        ((2.2, 0.8, 0.8), (0,)),
        ((0.8, 0.8, 6.4), (2,)),
        ((3.0, 5.0, 1.0), (1,)),  # no axis leaves two fine ones: the coarsest
    ],
)
def test_slices_have_two_finely_sampled_axes(spacing, axes):
    assert slicing_axes(spacing) == axes


@pytest.mark.parametrize("step", [0, 1, 17])
def test_every_beginning_of_the_order_is_spread_over_the_patch(step):
    order = spread(40, step)
    assert sorted(order) == list(range(40))
    for count in (2, 4):
        parts = {index * count // 40 for index in order[:count]}
        assert len(parts) >= count - 1, "at most one part of the patch without a slice"
    assert spread(40, step + 1)[:4] != order[:4]
