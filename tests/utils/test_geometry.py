"""Grids: where voxels lie in the world, and how far and in what two grids differ."""

from dataclasses import replace
from math import cos, inf, radians, sin
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ser_nnunet.utils.geometry import Grid

TURNED = (cos(radians(30)), -sin(radians(30)), 0, sin(radians(30)), cos(radians(30)), 0, 0, 0, 1)
GRID = Grid((4, 5, 6), (0.5, 0.75, 2.0), (10.0, -20.0, 30.25), TURNED)


def make_image(grid: Grid) -> sitk.Image:
    image = sitk.Image(grid.size, sitk.sitkUInt8)
    grid.impose(image)
    return image


def test_the_grid_of_an_image_is_read_from_memory_and_from_its_file(tmp_path: Path):
    sitk.WriteImage(make_image(GRID), str(tmp_path / "image.nii.gz"))
    read = Grid.read(tmp_path / "image.nii.gz")
    assert Grid.of(make_image(GRID)) == GRID and read.file == "image.nii.gz"
    assert read.size == GRID.size and read.distance_mm(GRID) < 1e-4


def test_the_name_of_the_file_does_not_make_two_grids_differ():
    assert Grid.of(make_image(GRID), "a.nii.gz") == Grid.of(make_image(GRID), "b.nii.gz")


def test_a_file_that_is_no_image_raises(tmp_path: Path):
    (tmp_path / "image.nii.gz").write_bytes(b"no image")
    with pytest.raises(RuntimeError):
        Grid.read(tmp_path / "image.nii.gz")


def test_corners_are_where_simpleitk_has_them():
    image = make_image(GRID)
    indices = [(x, y, z) for x in (0, 3) for y in (0, 4) for z in (0, 5)]
    assert np.allclose(GRID.corners(), [image.TransformIndexToPhysicalPoint(index) for index in indices])


def test_a_2d_grid_has_four_corners():
    grid = Grid((3, 2), (2.0, 1.0), (5.0, 6.0), (1.0, 0.0, 0.0, 1.0))
    assert grid.corners().tolist() == [[5, 6], [5, 7], [9, 6], [9, 7]]


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR"])
def test_the_orientation_is_simpleitks(orientation: str):
    assert Grid.of(sitk.DICOMOrient(make_image(GRID), orientation)).orientation() == orientation


def test_the_distance_is_that_of_the_corner_farthest_apart():
    moved = replace(GRID, origin=(13.0, -16.0, 30.25))
    assert moved.distance_mm(GRID) == pytest.approx(5)
    wider = replace(GRID, spacing=(0.5, 0.75, 2.1))
    assert wider.distance_mm(GRID) == pytest.approx(0.5), "0.1 mm over 5 steps"
    assert replace(GRID, size=(4, 5, 7)).distance_mm(GRID) == inf


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"size": (4, 5, 7)}, "shape (4, 5, 7), expected (4, 5, 6)"),
        ({"spacing": (0.5, 0.75, 2.1)}, "spacing (0.5, 0.75, 2.1), expected (0.5, 0.75, 2) (0.5 mm apart)"),
        (
            {"origin": (1234.5678, -20.0, 30.25)},
            "origin (1234.5678, -20, 30.25), expected (10, -20, 30.25) (1.22e+03 mm apart)",
        ),
        ({"origin": (10.00002, -20.0, 30.25)}, "header (2e-05 mm apart)"),
    ],
)
def test_a_difference_names_both_values_and_the_distance(change: dict, text: str):
    assert replace(GRID, **change).difference(GRID) == text


def test_all_parts_that_differ_are_named():
    text = Grid((4, 5, 6), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1)).difference(GRID)
    assert all(part in text for part in ("spacing (1, 1, 1)", "origin (0, 0, 0)", "direction (1, 0, 0, 0, 1, 0"))
