"""Bring a volume into the form in which it is written, and say what had to be changed for that.

Checking and writing both go through here, so that what was checked is what is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from ser_nnunet.dataset_conversion.core.data_classes import Case, Description, Volume
from ser_nnunet.dataset_conversion.core.geometry import TOLERANCE_MM, Grid, difference, distance_mm, onto
from ser_nnunet.dataset_conversion.core.label_values import (
    NotWholeError,
    count_values,
    replaced,
    targets,
    whole_numbers,
)
from ser_nnunet.dataset_conversion.core.problems import Problem
from ser_nnunet.dataset_conversion.core.readers import read, storage, stored_axes


@dataclass
class Prepared:
    """A volume as it will be written, what was changed for that, and what is wrong with it."""

    image: sitk.Image
    changes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    """For a label: voxels of each value in the source."""


def prepare_image(case: Case, volume: Volume, grid: Grid | None) -> Prepared:
    """Read one channel and bring it onto the first channel's grid (`None` for the first); raises `ReadingError`."""
    image = read(volume)
    prepared = Prepared(image, _repacked(volume))
    if grid is not None:
        _place(prepared, grid, case, volume)
    if prepared.changes:  # a file that is right is copied, however it stores its numbers
        _as_float32(prepared, volume)
    return prepared


def prepare_label(case: Case, volume: Volume, description: Description, grid: Grid | None) -> Prepared:
    """Read a label and bring it onto the image's grid, as uint8 with the values to write; raises `ReadingError`.

    Without a grid, where no image can be read, its values are looked at all the same.
    """
    prepared = Prepared(read(volume), _repacked(volume))
    if grid is not None:
        if volume.borrows_header:
            _borrow_header(prepared, grid, case, volume)
        _place(prepared, grid, case, volume)
    _map_values(prepared, case, volume, description)
    return prepared


def _borrow_header(prepared: Prepared, grid: Grid, case: Case, volume: Volume) -> None:
    """Replace a header that is wrong by the image's.

    One that leads onto the image's grid once the axes run alike is right: the array would be flipped under another one.
    """
    found = Grid.of(prepared.image)
    elsewhere = distance_mm(Grid.of(onto(prepared.image, grid)[0]), grid) > TOLERANCE_MM
    if found.size != grid.size or not elsewhere:
        return
    text = f"wrong header replaced by the image's: {difference(found, grid)}"
    prepared.changes.append(text)
    prepared.problems.append(Problem("wrong header", case.name, f"{volume.path.name}: {text}", fatal=False))
    prepared.image = sitk.Image(prepared.image)
    grid.impose(prepared.image)


def _repacked(volume: Volume) -> list[str]:
    if volume.path.is_dir():
        return ["DICOM series read with its geometry (nnU-Net reads no DICOM)"]
    if volume.component is not None and (volume.components or 1) > 1:
        return [f"channel {volume.component} of a 4D file (nnU-Net wants a file per channel)"]
    if not volume.path.name.lower().endswith(".nii.gz"):
        return [f"repacked from {volume.path.suffix.lower()} (all files of a data set end alike)"]
    if (axes := stored_axes(volume.path)) > 3:
        return [f"{axes} axes became 3, the others had size 1 (nnU-Net's NibabelIO takes 3)"]
    return []


def _place(prepared: Prepared, grid: Grid, case: Case, volume: Volume) -> None:
    prepared.image, change = onto(prepared.image, grid)
    prepared.changes += [change] if change else []
    found = Grid.of(prepared.image)
    if distance_mm(found, grid) > TOLERANCE_MM:
        text = f"{volume.path.name} against {grid.file}: {_apart(prepared.image, grid)}"
        prepared.problems.append(Problem("geometry", case.name, text))


def _apart(image: sitk.Image, grid: Grid) -> str:
    """Where an image lies instead; with another orientation, what remains once its axes run alike."""
    found = Grid.of(image)
    if found.orientation() == grid.orientation():
        return difference(found, grid)
    oriented = Grid.of(sitk.DICOMOrient(image, grid.orientation()))
    return f"orientation {found.orientation()}, expected {grid.orientation()}; reordered: {difference(oriented, grid)}"


def _map_values(prepared: Prepared, case: Case, volume: Volume, description: Description) -> None:
    """Turn the label's numbers into the values to write; note every number that cannot be."""
    name, array = volume.path.name, sitk.GetArrayViewFromImage(prepared.image)
    try:
        whole, rounding = whole_numbers(array)
    except NotWholeError as error:
        prepared.problems.append(Problem("non-integer label", case.name, f"{name}: {error}"))
        return
    prepared.changes += [f"values rounded (by at most {rounding:.1g})"] if rounding > 0 else []
    prepared.counts = count_values(whole)
    target = targets(prepared.counts, description)
    if unknown := [f"{value} ({prepared.counts[value]} voxels)" for value, new in target.items() if new is None]:
        text = f"{name} holds {', '.join(unknown)}; declared are {sorted(description.values)}"
        prepared.problems.append(Problem("label value", case.name, text))
        return
    merged = [f"{old} -> {new} ({prepared.counts[old]} voxels)" for old, new in target.items() if new != old]
    prepared.changes += [f"values merged, as declared for this data set: {', '.join(merged)}"] if merged else []
    _replace_voxels(prepared, replaced(whole, target), array.dtype)


def _as_float32(prepared: Prepared, volume: Volume) -> None:
    """Write float64 as float32 if no voxel changes by that; say so, and likewise of integers that a header scaled."""
    if stored := storage(volume.path) if volume.path.is_file() else "":
        prepared.changes.append(f"{stored} stored as float32")
    array = sitk.GetArrayViewFromImage(prepared.image)
    if array.dtype != np.float64 or not all(np.array_equal(part, part.astype(np.float32), True) for part in array):
        return
    prepared.image = sitk.Cast(prepared.image, sitk.sitkFloat32)
    prepared.changes.append("float64 stored as float32 (no voxel changes)")


def _replace_voxels(prepared: Prepared, array: np.ndarray, was: np.dtype) -> None:
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(prepared.image)
    prepared.image = image
    if was != np.uint8:
        prepared.changes.append(f"{was} stored as uint8 (labels are small whole numbers)")
