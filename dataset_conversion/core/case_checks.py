"""Check one case: everything that can be seen from its own files, told as problems, nothing raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import SimpleITK as sitk
from ser_nnunet.dataset_conversion.core.data_classes import LABEL, Case, Description, Volume
from ser_nnunet.dataset_conversion.core.geometry import Grid, voxels_in_lps_order
from ser_nnunet.dataset_conversion.core.label_values import count_values
from ser_nnunet.dataset_conversion.core.problems import Problem
from ser_nnunet.dataset_conversion.core.readers import ReadingError, checksum, fingerprint, read, source_files
from ser_nnunet.dataset_conversion.core.standardize import Prepared, prepare_image, prepare_label


@dataclass
class Facts:
    """What the check of one volume found out; goes into `conversion.json`."""

    role: str
    name: str
    """What messages call it: its file, or the folder around a series."""
    sources: dict[str, str]
    """Source file -> SHA-256: one file, a `.mhd` and its `.raw`, or every slice of a series."""
    grid: Grid
    """Where it will lie in the world."""
    fingerprint: str
    """Of the decoded voxels as they will be written."""
    in_lps_order: str
    """The same with the axes in LPS order: one scan stored as LAS and as RAS has one of these."""
    is_empty: bool = False
    """Whether this is a label without foreground, which is equal to many another and yet no copy."""
    changes: list[str] = field(default_factory=list)
    """Empty for a file that is copied as it is."""
    counts: dict[int, int] = field(default_factory=dict)


@dataclass
class Examination:
    """All that was found out about one case."""

    case: str
    facts: list[Facts] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def examine(case: Case, description: Description) -> Examination:
    """Read every volume of a case once, one or two at a time, and check it.

    What cannot be read, is missing or is there twice keeps nothing else from being checked: labels are compared with
    the first channel that can be read, and without one all is checked that needs no image.
    """
    examination = Examination(case.name)
    grid: Grid | None = None
    for role, volume in [*case.images.items(), *(spare for spare in case.spares if spare[0] != LABEL)]:
        prepared = _channel(examination, case, role, volume, grid)
        if grid is None and prepared is not None:
            grid = Grid.of(prepared.image, volume.path.name)
            _labels(examination, case, description, prepared.image, grid)
    if grid is None:
        _labels(examination, case, description, None, None)
    return examination


def _channel(examination: Examination, case: Case, role: str, volume: Volume, grid: Grid | None) -> Prepared | None:
    try:
        prepared = prepare_image(case, volume, grid)
    except ReadingError as error:
        examination.problems += [_unreadable(case, volume, error), *_twin_problems(case, volume)]
        return None
    array = sitk.GetArrayViewFromImage(prepared.image)
    examination.facts.append(_facts(role, volume, prepared, array))
    examination.problems += [
        *prepared.problems,
        *_image_problems(case, volume, array),
        *_twin_problems(case, volume),
    ]
    return prepared


def _labels(
    examination: Examination, case: Case, description: Description, image: sitk.Image | None, grid: Grid | None
) -> None:
    """Check the label, and every copy of it, against a channel (None: as far as that goes without one)."""
    for volume in [case.label, *(volume for role, volume in case.spares if role == LABEL)]:
        if volume is not None:
            _label(examination, case, volume, description, image, grid)


def _label(
    examination: Examination,
    case: Case,
    volume: Volume,
    description: Description,
    image: sitk.Image | None,
    grid: Grid | None,
) -> None:
    try:
        prepared = prepare_label(case, volume, description, grid)
    except ReadingError as error:
        examination.problems += [_unreadable(case, volume, error), *_twin_problems(case, volume)]
        return
    array = sitk.GetArrayViewFromImage(prepared.image)
    facts = _facts(LABEL, volume, prepared, array)
    examination.facts.append(facts)
    examination.problems += [*prepared.problems, *_twin_problems(case, volume)]
    faults = {problem.kind for problem in prepared.problems if problem.fatal}
    if not array.any():
        facts.is_empty = True
        text = f"{volume.path.name} has no foreground voxel"
        examination.problems.append(Problem("empty mask", case.name, text, fatal=not description.empty_masks))
    if faults <= {"geometry"}:
        examination.problems += _absent_classes(case, volume, description, array) if array.any() else []
        for check in description.case_checks:
            examination.problems += check(case, volume, None if faults else image, prepared.image)


def _facts(role: str, volume: Volume, prepared: Prepared, array: np.ndarray) -> Facts:
    sources = {str(path): checksum(path) for path in source_files(volume)}
    stored, ordered = fingerprint(array), fingerprint(voxels_in_lps_order(prepared.image))
    where = Grid.of(prepared.image)
    return Facts(
        role, volume.path.name, sources, where, stored, ordered, changes=prepared.changes, counts=prepared.counts
    )


def _unreadable(case: Case, volume: Volume, error: ReadingError) -> Problem:
    return Problem(error.kind, case.name, f"{volume.path}: {error}")


def _image_problems(case: Case, volume: Volume, array: np.ndarray) -> Iterator[Problem]:
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        count = int((~np.isfinite(array)).sum())
        yield Problem("NaN or Inf", case.name, f"{_name(volume)} holds {count} voxels that are NaN or Inf")
    elif low == high:
        yield Problem("constant image", case.name, f"{_name(volume)} is {low:g} everywhere")


def _absent_classes(case: Case, volume: Volume, description: Description, array: np.ndarray) -> Iterator[Problem]:
    """Classes of which this case has no voxel: worth knowing, no fault."""
    present = set(count_values(array))
    for name, value in description.labels.items():
        values = {value} if isinstance(value, int) else set(value)
        if values != {0} and not values & present:
            yield Problem("class absent", case.name, f"{volume.path.name} has no voxel of {name}", fatal=False)


def _twin_problems(case: Case, volume: Volume) -> Iterator[Problem]:
    """A `.nii` beside the `.nii.gz` of the same name must hold the same voxels, or nobody knows which one is meant."""
    if volume.twin is None:
        return
    twin = replace(volume, path=volume.twin, twin=None)
    mine = None
    with suppress(ReadingError):  # reported by the caller
        mine = fingerprint(sitk.GetArrayViewFromImage(read(volume)))
    try:
        other = fingerprint(sitk.GetArrayViewFromImage(read(twin)))
    except ReadingError as error:
        yield _unreadable(case, twin, error)
        return
    if mine not in (None, other):
        text = f"{twin.path.name} and {volume.path.name} lie side by side and differ"
        yield Problem("duplicate case", case.name, text)


def _name(volume: Volume) -> str:
    return volume.path.name + ("" if volume.component is None else f" (channel {volume.component})")
