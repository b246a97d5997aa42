"""Bring a volume into the form in which it is written, and report what had to be changed for that.

The checks and the writer both call these functions, so that the written volume equals the checked one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ser_nnunet.dataset_conversion.core.data_classes import Case, DatasetInfo, Problem, Volume
from ser_nnunet.dataset_conversion.core.label_values import (
    NonIntegerLabelError,
    count_values,
    map_values,
    replace_values,
    round_to_integers,
)
from ser_nnunet.dataset_conversion.core.readers import count_stored_axes, describe_scaling, read_volume
from ser_nnunet.dataset_conversion.core.reorientation import describe_mismatch, reorient_to_grid, tolerance_mm
from ser_nnunet.utils.geometry import Grid

REORDERING_READERS = ("", "NibabelIOWithReorient", "SimpleITKIOWithReorient")
"""Who brings the axes into one order: the converters (see `Volume.reader`), and two of nnU-Net's readers."""


@dataclass
class StandardizedVolume:
    """A volume as it will be written, what was changed for that, and what is wrong with it."""

    image: sitk.Image
    changes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    stored_orientation: str = ""
    """In which its axes were stored; empty where they have not been compared with anything."""
    value_counts: dict[int, int] = field(default_factory=dict)
    """For a label: voxels of each value in the source."""


def standardize_image(case: Case, volume: Volume, info: DatasetInfo, grid: Grid | None) -> StandardizedVolume:
    """Read one channel and bring it onto the first channel's grid; raises `ReadingError`.

    The first channel, whose `grid` is None, is brought into the data set's order of axes, if it has one.
    """
    result = StandardizedVolume(read_volume(volume), _describe_repacking(volume))
    if grid is not None:
        _move_to_grid(result, grid, case, volume)
    elif info.orientation and (stored := Grid.of(result.image).orientation()) != info.orientation:
        result.stored_orientation = stored
        result.image = sitk.DICOMOrient(result.image, info.orientation)
        result.changes.append(f"axes reordered from {stored} to {info.orientation}, as in every case of this data set")
    if not result.changes:  # without changes the file is copied, whatever its number type
        return result
    if volume.path.is_file() and (scaling := describe_scaling(volume.path)):
        result.changes.append(f"{scaling} stored as float32")
    array = sitk.GetArrayViewFromImage(result.image)
    if array.dtype == np.float64 and all(np.array_equal(part, part.astype(np.float32), True) for part in array):
        result.image = sitk.Cast(result.image, sitk.sitkFloat32)
        result.changes.append("float64 stored as float32 (no voxel changes)")
    return result


def standardize_label(case: Case, volume: Volume, info: DatasetInfo, grid: Grid | None) -> StandardizedVolume:
    """Read a label and bring it onto the image's grid, as uint8 with the values to write; raises `ReadingError`.

    Without a grid, where no image can be read, its values are examined all the same.
    """
    result = StandardizedVolume(read_volume(volume), _describe_repacking(volume))
    if grid is not None:
        if volume.header_of is not None:
            _copy_header(result, grid, case, volume, volume.header_of)
        _move_to_grid(result, grid, case, volume)
    _convert_values(result, info, case, volume)
    return result


def _describe_repacking(volume: Volume) -> list[str]:
    """Return why a volume cannot be copied as the file that it is, or nothing if it can."""
    if volume.path.is_dir():
        return ["DICOM series read with its geometry (nnU-Net reads no DICOM)"]
    if volume.component is not None and (volume.components or 1) > 1:
        return [f"channel {volume.component} of a 4D file (nnU-Net needs a file per channel)"]
    if volume.reader:
        return []
    if not volume.path.name.lower().endswith(".nii.gz"):
        return [f"repacked from {volume.path.suffix.lower()} (all files of a data set have one ending)"]
    if (axes := count_stored_axes(volume.path)) > 3:
        return [f"{axes} axes became 3, the others had size 1 (nnU-Net's NibabelIO takes 3)"]
    return []


def _copy_header(result: StandardizedVolume, grid: Grid, case: Case, volume: Volume, image_file: Path) -> None:
    """Replace a label's header that is known to be wrong by the image's, as it is stored.

    If reordering the axes brings the label onto the image's grid, its header is correct and is kept; with the image's
    header the array would be flipped.
    """
    found = Grid.of(result.image)
    try:
        stored = Grid.read(image_file)
    except RuntimeError:  # reported as the image's
        return
    reoriented, _ = reorient_to_grid(result.image, grid)
    if found.size != stored.size or Grid.of(reoriented).distance_mm(grid) <= tolerance_mm(grid):
        return
    text = f"wrong header replaced by the image's: {describe_mismatch(found, stored)}"
    result.changes.append(text)
    result.problems.append(Problem("wrong header", case.name, f"{volume.path.name}: {text}", fatal=False))
    result.image = sitk.Image(result.image)
    stored.impose(result.image)


def _move_to_grid(result: StandardizedVolume, grid: Grid, case: Case, volume: Volume) -> None:
    """Reorient a volume to the grid; where it lies elsewhere, report in what the two grids differ."""
    stored = Grid.of(result.image)
    result.stored_orientation = stored.orientation()
    result.image, change = reorient_to_grid(result.image, grid)
    result.changes += [change] if change else []
    found = Grid.of(result.image)
    if found.distance_mm(grid) <= tolerance_mm(grid):
        if volume.reader not in REORDERING_READERS and stored.distance_mm(grid) > tolerance_mm(grid):
            text = f"its axes are stored as {stored.orientation()}, expected {grid.orientation()}: nnU-Net's "
            text += f"{volume.reader} takes arrays as they are stored, so the two do not fit each other"
            result.problems.append(Problem("geometry", case.name, f"{volume.path.name} against {grid.file}: {text}"))
        return
    if found.orientation() == grid.orientation():
        mismatch = describe_mismatch(found, grid)
    else:
        reoriented = Grid.of(sitk.DICOMOrient(result.image, grid.orientation()))
        mismatch = (
            f"orientation {found.orientation()}, expected {grid.orientation()}; "
            f"reordered: {describe_mismatch(reoriented, grid)}"
        )
    result.problems.append(Problem("geometry", case.name, f"{volume.path.name} against {grid.file}: {mismatch}"))


def _convert_values(result: StandardizedVolume, info: DatasetInfo, case: Case, volume: Volume) -> None:
    """Replace the label's values by those to write, as uint8; report every value for which that isn't possible."""
    name, array = volume.path.name, sitk.GetArrayViewFromImage(result.image)
    try:
        integers, rounding = round_to_integers(array)
    except NonIntegerLabelError as error:
        result.problems.append(Problem("non-integer label", case.name, f"{name}: {error}"))
        return
    result.changes += [f"values rounded (by at most {rounding:.1g})"] if rounding > 0 else []
    result.value_counts = count_values(integers)
    mapping = map_values(result.value_counts, info)
    if unknown := [f"{value} ({result.value_counts[value]} voxels)" for value, new in mapping.items() if new is None]:
        text = f"{name} holds {', '.join(unknown)}; declared are {sorted(info.values)}"
        result.problems.append(Problem("label value", case.name, text))
        return
    merged = [f"{old} -> {new} ({result.value_counts[old]} voxels)" for old, new in mapping.items() if new != old]
    result.changes += [f"values merged, as declared for this data set: {', '.join(merged)}"] if merged else []
    image = sitk.GetImageFromArray(replace_values(integers, mapping))
    image.CopyInformation(result.image)
    result.image = image
    if array.dtype != np.uint8:
        result.changes.append(f"{array.dtype} stored as uint8 (labels are small integers)")
