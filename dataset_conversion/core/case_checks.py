"""Check one case: everything that can be seen from its own files, reported as problems, nothing raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from ser_nnunet.dataset_conversion.core.data_classes import (
    LABEL,
    Case,
    CaseReport,
    DatasetInfo,
    Problem,
    Volume,
    VolumeFacts,
)
from ser_nnunet.dataset_conversion.core.label_values import count_values
from ser_nnunet.dataset_conversion.core.readers import SHEARED, ReadingError, list_source_files, read_volume
from ser_nnunet.dataset_conversion.core.reorientation import voxels_in_order
from ser_nnunet.dataset_conversion.core.standardize import StandardizedVolume, standardize_image, standardize_label
from ser_nnunet.nnunet.region_order import IGNORE
from ser_nnunet.utils.geometry import Grid
from ser_nnunet.utils.hashing import file_sha256, voxel_hash


def check_case(case: Case, info: DatasetInfo) -> CaseReport:
    """Read every volume of a case once, one or two at a time, and check it.

    An unreadable, missing or duplicated file does not stop the other checks. Labels are compared with the first
    readable channel; without one, only checks that need no image are made.
    """
    report = CaseReport(case.name)
    labels = [*([case.label] if case.label else []), *(volume for role, volume in case.duplicates if role == LABEL)]
    grid: Grid | None = None
    for role, volume in [*case.images.items(), *(each for each in case.duplicates if each[0] != LABEL)]:
        image = check_image(report, case, role, volume, info, grid)
        if grid is None and image is not None:
            grid = Grid.of(image, volume.path.name)
            for label in labels:
                check_label(report, case, label, info, image, grid)
    if grid is None:
        for label in labels:
            check_label(report, case, label, info, None, None)
    return report


def check_image(
    report: CaseReport, case: Case, role: str, volume: Volume, info: DatasetInfo, grid: Grid | None
) -> sitk.Image | None:
    """Check one channel and add what was found to the report; return the image as it will be written, if readable."""
    report.problems += _compare_with_uncompressed_copy(case, volume)
    try:
        standardized = standardize_image(case, volume, info, grid)
    except ReadingError as error:
        report.problems.append(_describe_reading_error(case, volume, error))
        return None
    report.facts.append(_collect_facts(role, volume, standardized))
    report.problems += standardized.problems
    image: sitk.Image = standardized.image
    array = sitk.GetArrayViewFromImage(image)
    name = volume.path.name + ("" if volume.component is None else f" (channel {volume.component})")
    low, high = float(array.min()), float(array.max())
    report.facts[-1].value_range = (low, high)
    if not (np.isfinite(low) and np.isfinite(high)):
        count = int((~np.isfinite(array)).sum())
        report.problems.append(Problem("NaN or Inf", case.name, f"{name} holds {count} voxels that are NaN or Inf"))
    elif low == high:
        report.problems.append(Problem("constant image", case.name, f"{name} is {low:g} everywhere"))
    return image


def check_label(
    report: CaseReport, case: Case, volume: Volume, info: DatasetInfo, image: sitk.Image | None, grid: Grid | None
) -> None:
    """Check one label against a channel and its grid, both None if no channel can be read; add to the report."""
    report.problems += _compare_with_uncompressed_copy(case, volume)
    try:
        standardized = standardize_label(case, volume, info, grid)
    except ReadingError as error:
        report.problems.append(_describe_reading_error(case, volume, error))
        return
    facts = _collect_facts(LABEL, volume, standardized)
    report.facts.append(facts)
    report.problems += standardized.problems
    array = sitk.GetArrayViewFromImage(standardized.image)
    ignored = array == info.labels[IGNORE] if IGNORE in info.labels else np.zeros((), bool)
    foreground = (array != 0) & ~ignored
    facts.is_empty = not foreground.any()
    background = array == 0  # which says nothing outside of the image's content
    if image is not None and background.shape == (content := sitk.GetArrayViewFromImage(image)).shape:
        background &= content != 0
    facts.is_unannotated = facts.is_empty and bool(ignored.any()) and not background.any()
    if facts.is_empty and not ignored.any():
        text = f"{volume.path.name} has no foreground voxel"
        report.problems.append(Problem("empty mask", case.name, text, fatal=not info.allow_empty_masks))
    faults = {problem.kind for problem in standardized.problems if problem.fatal}
    if faults - {"geometry"}:  # its values are not those that would be written
        return
    present = set(count_values(array)) - {0}
    is_whole = not ignored.any()  # otherwise a class may be where nothing is annotated
    for name, value in info.labels.items() if present and is_whole else ():
        values = {value} if isinstance(value, int) else set(value)
        if name != IGNORE and values != {0} and not values & present:
            text = f"{volume.path.name} has no voxel of {name}"
            report.problems.append(Problem("class absent", case.name, text, fatal=False))
    if image is not None and not faults and not facts.is_empty:
        inside = np.percentile(sitk.GetArrayViewFromImage(image)[foreground], (5, 50, 95))
        facts.values_inside = (float(inside[0]), float(inside[1]), float(inside[2]))
    for check in info.case_checks:
        report.problems += check(case, volume, None if faults else image, standardized.image)


def _collect_facts(role: str, volume: Volume, standardized: StandardizedVolume) -> VolumeFacts:
    image, stored = standardized.image, standardized.stored_orientation
    written = voxel_hash(sitk.GetArrayViewFromImage(image))
    is_reordered = stored not in ("", Grid.of(image).orientation())
    return VolumeFacts(
        role=role,
        name=volume.path.name,
        sources={str(path): file_sha256(path) for path in list_source_files(volume)},
        grid=Grid.of(image),
        voxel_hash=written,
        voxel_hash_stored=voxel_hash(voxels_in_order(image, stored)) if is_reordered else written,
        voxel_hash_lps=voxel_hash(voxels_in_order(image, "LPS")),
        changes=standardized.changes,
        value_counts=standardized.value_counts,
    )


def _compare_with_uncompressed_copy(case: Case, volume: Volume) -> Iterator[Problem]:
    """Report a `.nii` file beside the `.nii.gz` of the same name with other voxels: which one is meant is unknown."""
    if volume.uncompressed_copy is None:
        return
    copy = replace(volume, path=volume.uncompressed_copy, uncompressed_copy=None)
    try:
        found = voxel_hash(sitk.GetArrayFromImage(read_volume(copy)))
    except ReadingError as error:
        yield _describe_reading_error(case, copy, error)
        return
    with suppress(ReadingError):  # reported by the caller
        if found != voxel_hash(sitk.GetArrayFromImage(read_volume(volume))):
            text = f"{copy.path.name} and {volume.path.name} are in the same folder and differ"
            yield Problem("duplicate case", case.name, text)


def _describe_reading_error(case: Case, volume: Volume, error: ReadingError) -> Problem:
    fatal = error.kind != SHEARED or not volume.reader.startswith("NibabelIO")  # which reads it
    return Problem(error.kind, case.name, f"{volume.path}: {error}", fatal)
