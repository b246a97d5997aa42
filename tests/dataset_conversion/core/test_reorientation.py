"""Bringing volumes onto one grid: what is reordered, what is moved, and what is left where it is."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from ser_nnunet.dataset_conversion.core.reorientation import (
    TOLERANCE_MM,
    describe_mismatch,
    reorient_to_grid,
    voxels_in_order,
)
from ser_nnunet.utils.geometry import Grid
from tests.dataset_conversion.volumes import LAS, LPS, TILTED, UPSIDE_DOWN, image_of, scalar_image


@pytest.mark.parametrize("direction", [LPS, LAS, TILTED, UPSIDE_DOWN])
@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR", "SLA", "ILP", "ARI"])
def test_voxels_in_lps_order_are_those_of_simpleitk(direction: tuple, orientation: str):
    stored = sitk.DICOMOrient(image_of(scalar_image(1), direction=direction), orientation)
    expected = sitk.GetArrayFromImage(sitk.DICOMOrient(stored, "LPS"))
    assert np.array_equal(voxels_in_order(stored, "LPS"), expected)


@pytest.mark.parametrize("orientation", ["RAS", "PIR", "SLA"])
def test_an_image_stored_in_another_axis_order_gets_the_grid_and_its_own_voxels_back(orientation: str):
    image = image_of(scalar_image(1), direction=TILTED)
    reoriented, change = reorient_to_grid(sitk.DICOMOrient(image, orientation), Grid.of(image))
    assert Grid.of(reoriented) == Grid.of(image) and f"reordered from {orientation}" in change
    assert np.array_equal(sitk.GetArrayFromImage(reoriented), sitk.GetArrayFromImage(image))


def shift(image: sitk.Image, mm: float) -> sitk.Image:
    shifted = sitk.Image(image)
    shifted.SetOrigin((image.GetOrigin()[0] + mm, *image.GetOrigin()[1:]))
    return shifted


@pytest.mark.parametrize(
    ("mm", "change"),
    [(0, ""), (1e-7, ""), (0.8 * TOLERANCE_MM, "header moved by 0.04 mm onto the first channel's")],
)
def test_a_header_within_the_tolerance_becomes_the_grids(mm: float, change: str):
    image = image_of(scalar_image(1))
    moved, reported = reorient_to_grid(shift(image, mm), Grid.of(image))
    assert Grid.of(moved) == Grid.of(image) and reported == change


def test_the_tolerance_is_at_most_a_tenth_of_a_voxel():
    """Of micro-CT with voxels of 0.004 mm, 0.05 mm are 12 voxels."""
    image = image_of(scalar_image(1), (0.004, 0.004, 0.01), (0, 0, 0))
    elsewhere = shift(image, 0.004)
    result, change = reorient_to_grid(elsewhere, Grid.of(image))
    assert Grid.of(result) == Grid.of(elsewhere) and change == ""
    assert describe_mismatch(Grid.of(elsewhere), Grid.of(image)).endswith("(0.004 mm apart), tolerance 0.0004 mm")
    moved, change = reorient_to_grid(shift(image, 0.0002), Grid.of(image))
    assert Grid.of(moved) == Grid.of(image) and "header moved by 0.0002 mm" in change


def test_an_image_beyond_the_tolerance_stays_where_it_is():
    image = image_of(scalar_image(1))
    elsewhere = shift(image, 1.2 * TOLERANCE_MM)
    result, change = reorient_to_grid(elsewhere, Grid.of(image))
    assert Grid.of(result) == Grid.of(elsewhere) and change == ""
