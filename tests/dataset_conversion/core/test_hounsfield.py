"""A mask that was flipped, turned or put elsewhere is refused; one in its place is not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ser_nnunet.dataset_conversion.core.data_classes import Case, Volume
from ser_nnunet.dataset_conversion.core.dicom import read_series
from ser_nnunet.dataset_conversion.core.geometry import Grid, onto
from ser_nnunet.dataset_conversion.core.hounsfield import hounsfield_check

LABEL = Volume(Path("label0001.nii.gz"))
CASE = Case("PANCREAS_0001", "1", {}, LABEL)
FLIPS = [axes for count in range(4) for axes in combinations(range(3), count)]
INSIDE = (slice(2, 4), slice(4, 7), slice(5, 10))


def fault(values: np.ndarray, mask: np.ndarray) -> str:
    """What is said of a mask, or "" where nothing is."""
    image, label = sitk.GetImageFromArray(values), sitk.GetImageFromArray(mask.astype(np.uint8))
    return "".join(problem.text for problem in hounsfield_check(CASE, LABEL, image, label))


def positions(mask: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The mask in all positions but its own: flips, and on square slices flips after the transpose."""
    yield from ((f"flip {axes}", np.flip(mask, axes)) for axes in FLIPS[1:])
    if mask.shape[1] == mask.shape[2]:
        yield from ((f"transpose, flip {axes}", np.flip(mask.swapaxes(1, 2), axes)) for axes in FLIPS)


def hand_made(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """An organ of 100 HU, uneven tissue of 0 to 60 HU everywhere else: soft tissue wherever a mask may fall."""
    values = (np.arange(np.prod(shape)) * 37 % 61).reshape(shape).astype(np.int16)
    mask = np.zeros(shape, bool)
    mask[INSIDE] = True
    values[mask] = 100
    return values, mask


@pytest.mark.parametrize("shape", [(9, 16, 16), (9, 16, 18)])
def test_only_the_organs_own_place_is_accepted(shape: tuple[int, int, int]):
    values, mask = hand_made(shape)
    assert fault(values, mask) == ""
    for name, other in positions(mask):
        assert "it would fit better (spread 0 against" in fault(values, other), name


def test_the_way_back_from_a_quarter_turn_is_told():
    values, mask = hand_made((9, 16, 16))
    turned = np.rot90(mask, 1, (1, 2))
    assert np.array_equal(np.flip(turned, 1).swapaxes(1, 2), mask)
    assert "flipped along y, then with x and y swapped it would fit" in fault(values, turned)


@pytest.mark.parametrize(
    ("hu", "voxels", "told"),
    [
        (-500, 1, "3.3% of the mask lie below -200 HU, expected at most 1.0%"),
        (-150, 4, "86.7% of the mask lie within -100 to 250 HU, expected at least 90.0%"),
        (700, 4, "86.7% of the mask lie within"),
        (700, 3, ""),
    ],
)
def test_what_no_organ_holds_is_told(hu: int, voxels: int, told: str):
    values, mask = hand_made((9, 16, 16))
    values[2, 4, 5 : 5 + voxels] = hu
    assert fault(values, mask).startswith(f"label0001.nii.gz: {told}" if told else "")
    assert bool(fault(values, mask)) == bool(told)


@pytest.mark.data
@pytest.mark.slow
def test_a_real_pancreas_is_accepted_in_its_place_alone(real_data: Path):
    source = real_data / "nih_pancreas_ct"
    image = read_series(source / "manifest")
    label, _ = onto(sitk.ReadImage(str(next(source.rglob("label0002.nii.gz")))), Grid.of(image))
    values, mask = sitk.GetArrayViewFromImage(image), sitk.GetArrayViewFromImage(label) > 0
    assert fault(values, mask) == ""
    for name, other in positions(mask):
        assert fault(values, other), name
    assert "of the mask lie below -200 HU" in fault(values, np.roll(mask, 20, 1))
