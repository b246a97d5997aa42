"""A mask that was flipped, turned or put into air is refused; one in its place is not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ser_nnunet.dataset_conversion.core.data_classes import Case, Volume
from ser_nnunet.dataset_conversion.core.dicom import read_series
from ser_nnunet.dataset_conversion.core.hounsfield import check_hounsfield_values
from ser_nnunet.dataset_conversion.core.reorientation import reorient_to_grid
from ser_nnunet.utils.geometry import Grid

LABEL = Volume(Path("label0001.nii.gz"))
CASE = Case("PANCREAS_0001", "1", {}, LABEL)
FLIPS = [axes for count in range(4) for axes in combinations(range(3), count)]
INSIDE = (slice(2, 4), slice(4, 7), slice(5, 10))


def describe_fault(values: np.ndarray, mask: np.ndarray) -> str:
    """Return what is reported of a mask, or "" if nothing is."""
    image, label = sitk.GetImageFromArray(values), sitk.GetImageFromArray(mask.astype(np.uint8))
    return "".join(problem.text for problem in check_hounsfield_values(CASE, LABEL, image, label))


def move_mask(mask: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The mask in all positions but its own: flips, and on square slices flips after the transpose."""
    yield from ((f"flip {axes}", np.flip(mask, axes)) for axes in FLIPS[1:])
    if mask.shape[1] == mask.shape[2]:
        yield from ((f"transpose, flip {axes}", np.flip(mask.swapaxes(1, 2), axes)) for axes in FLIPS)


def make_organ(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """An organ of 100 HU, uneven tissue of 0 to 60 HU everywhere else: soft tissue wherever a mask may fall."""
    values = (np.arange(np.prod(shape)) * 37 % 61).reshape(shape).astype(np.int16)
    mask = np.zeros(shape, bool)
    mask[INSIDE] = True
    values[mask] = 100
    return values, mask


@pytest.mark.parametrize("shape", [(9, 16, 16), (9, 16, 18)])
def test_a_mask_is_accepted_only_where_the_organ_is(shape: tuple[int, int, int]):
    values, mask = make_organ(shape)
    assert describe_fault(values, mask) == ""
    for name, other in move_mask(mask):
        assert "it would fit better (spread 0 against" in describe_fault(values, other), name


def test_the_correction_of_a_quarter_turn_is_reported():
    values, mask = make_organ((9, 16, 16))
    turned = np.rot90(mask, 1, (1, 2))
    assert np.array_equal(np.flip(turned, 1).swapaxes(1, 2), mask)
    assert "flipped along y, then with x and y swapped it would fit" in describe_fault(values, turned)


@pytest.mark.parametrize(
    ("hu", "voxels", "reported"),
    [
        (-500, 1, "3.3% of the mask lie below -200 HU, expected at most 1.0%"),
        (-150, 4, "86.7% of the mask lie within -100 to 250 HU, expected at least 90.0%"),
        (700, 4, "86.7% of the mask lie within"),
        (700, 3, ""),
    ],
)
def test_air_and_little_soft_tissue_are_reported(hu: int, voxels: int, reported: str):
    values, mask = make_organ((9, 16, 16))
    values[2, 4, 5 : 5 + voxels] = hu
    assert describe_fault(values, mask).startswith(f"label0001.nii.gz: {reported}" if reported else "")
    assert bool(describe_fault(values, mask)) == bool(reported)


@pytest.mark.data
@pytest.mark.slow
def test_a_real_mask_is_accepted_only_where_the_pancreas_is(real_data: Path):
    source = real_data / "nih_pancreas_ct"
    image = read_series(source / "manifest")
    label, _ = reorient_to_grid(sitk.ReadImage(str(next(source.rglob("label0002.nii.gz")))), Grid.of(image))
    values, mask = sitk.GetArrayViewFromImage(image), sitk.GetArrayViewFromImage(label) > 0
    assert describe_fault(values, mask) == ""
    for name, other in move_mask(mask):
        assert describe_fault(values, other), name
    assert "of the mask lie below -200 HU" in describe_fault(values, np.roll(mask, 20, 1))
