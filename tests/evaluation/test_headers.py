"""Which differences between headers are rounding and which are another grid."""

import numpy as np
import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation import evaluate
from ser_nnunet.evaluation.headers import describe_grid_difference
from ser_nnunet.utils.geometry import Grid
from tests.evaluation.cohort import FAST, random_label_map, write_cohort, write_volume

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def make_grid(size=(512, 512, 100), spacing=(0.9765625, 0.9765625, 3.0), origin=(0.0, 0.0, 0.0), direction=IDENTITY):
    return Grid(size, spacing, origin, direction)


def test_all_grids_that_differ_are_named_at_once(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, dict.fromkeys("abcd", array), dict.fromkeys("abcd", array))
    write_volume(folder / "pred0" / "a.nii.gz", array[:-1])
    write_volume(folder / "pred0" / "b.nii.gz", array, spacing=(0.8, 1.0, 3.0))
    write_volume(folder / "pred0" / "c.nii.gz", array, origin=5.0)
    write_volume(folder / "pred0" / "d.nii.gz", array, origin=1e-4)  # as rounded headers are
    with pytest.raises(UserError) as raised:
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)
    message = str(raised.value)
    assert "shape (11, 9, 5), expected (11, 9, 6)" in message
    assert "spacing (0.8, 1, 3), expected (0.8, 1, 2.5) (2.5 mm apart)" in message
    assert "origin (5, 5, 5), expected (0, 0, 0)" in message and "d.nii.gz" not in message


@pytest.mark.parametrize("decimals", [3, 4, 6])
@pytest.mark.parametrize("field_of_view_mm", [250, 300, 350, 380, 400, 420, 500])
def test_spacings_rounded_to_three_decimals_are_accepted(field_of_view_mm, decimals):
    spacing = field_of_view_mm / 512
    expected = make_grid(spacing=(spacing, spacing, 3.0))
    rounded = make_grid(spacing=(round(spacing, decimals), round(spacing, decimals), 3.0))
    assert describe_grid_difference(rounded, expected) == ""


def test_a_shift_by_a_fiftieth_of_a_voxel_and_a_spacing_off_by_a_fiftieth_are_refused():
    """On a small image, corners may lie close although its volumes would be wrong by several percent."""
    expected = make_grid(size=(8, 8, 8), spacing=(1.0, 1.0, 1.0))
    assert "origin" in describe_grid_difference(make_grid((8, 8, 8), (1.0, 1.0, 1.0), (0.02, 0.0, 0.0)), expected)
    assert "spacing" in describe_grid_difference(make_grid((8, 8, 8), (1.02, 1.0, 1.0)), expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shift_by_half_a_voxel_is_refused(axis):
    expected = make_grid()
    shift = np.zeros(3)
    shift[axis] = expected.spacing[axis] / 2  # as converting between a voxel's corner and its centre does
    difference = describe_grid_difference(make_grid(origin=tuple(shift)), expected)
    assert "origin" in difference and "mm apart" in difference


def test_directions_rounded_to_six_decimals_are_accepted_and_a_tilt_is_refused():
    def tilt(degrees, decimals):
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        direction = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]).round(decimals)
        return make_grid(direction=tuple(direction.ravel()))

    assert describe_grid_difference(tilt(10, 6), tilt(10, 15)) == ""
    assert "direction" in describe_grid_difference(tilt(10.1, 15), tilt(10, 15))


def test_a_flipped_volume_is_refused():
    flipped = make_grid(origin=(511 * 0.9765625, 0.0, 0.0), direction=(-1.0, *IDENTITY[1:]))
    assert "direction" in describe_grid_difference(flipped, make_grid())


def test_a_single_slice_volume_is_not_a_two_dimensional_file(tmp_path):
    array = random_label_map(0)[:1]
    folder = write_cohort(tmp_path, {"a": array}, {"a": array})
    write_volume(folder / "pred0" / "a.nii.gz", array[0], spacing=(0.8, 1.0))
    with pytest.raises(UserError, match=r"shape \(11, 9\), expected \(11, 9, 1\)"):
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)
