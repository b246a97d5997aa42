"""Check one case: everything that can be seen from its own files, told as problems, nothing raised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk

from .cases import LABEL, Case, Description, Volume
from .geometry import Grid
from .label_values import count_values
from .preparing import Prepared, prepare_image, prepare_label
from .problems import Problem
from .reading import ReadingError, checksum, fingerprint, read, source_files


@dataclass
class Facts:
    """What the check of one volume found out; goes into `conversion.json`."""

    role: str
    sha256: str
    """Of the source file (of all slices of a series, one after the other)."""
    files: list[str]
    fingerprint: str = ""
    """Of the decoded voxels; empty for a label without foreground."""
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
    """Read every volume of a case once, one or two at a time, and check it."""
    examination = Examination(case.name)
    grid: Grid | None = None
    for role in case.images:
        prepared = _channel(examination, case, role, grid)
        if grid is None and prepared is not None:
            grid = Grid.of(prepared.image)
            if case.label is not None:
                _label(examination, case, description, prepared.image, grid)
    return examination


def _channel(examination: Examination, case: Case, role: str, grid: Grid | None) -> Prepared | None:
    volume = case.images[role]
    try:
        prepared = prepare_image(case, role, grid)
    except ReadingError as error:
        examination.problems.append(_unreadable(case, volume, error))
        return None
    array = sitk.GetArrayViewFromImage(prepared.image)
    facts = _facts(role, volume, prepared, array)
    examination.facts.append(facts)
    examination.problems += [
        *prepared.problems,
        *_image_problems(case, volume, array),
        *_twin_problems(case, volume, facts),
    ]
    return prepared


def _label(examination: Examination, case: Case, description: Description, image: sitk.Image, grid: Grid) -> None:
    assert case.label is not None
    try:
        prepared = prepare_label(case, description, grid)
    except ReadingError as error:
        examination.problems.append(_unreadable(case, case.label, error))
        return
    array = sitk.GetArrayViewFromImage(prepared.image)
    facts = _facts(LABEL, case.label, prepared, array)
    examination.facts.append(facts)
    examination.problems += prepared.problems
    if any(problem.fatal for problem in prepared.problems):
        return
    if not array.any():
        facts.fingerprint = ""
        text = f"{case.label.path.name} has no foreground voxel"
        examination.problems.append(Problem("empty mask", case.name, text, fatal=not description.empty_masks))
    else:
        examination.problems += _absent_classes(case, description, array)
    examination.problems += _twin_problems(case, case.label, facts)
    for check in description.case_checks:
        examination.problems += check(case, image, prepared.image)


def _facts(role: str, volume: Volume, prepared: Prepared, array: np.ndarray) -> Facts:
    files = source_files(volume)
    names = [str(path) for path in files] if not volume.path.is_dir() else [str(volume.path)]
    return Facts(role, checksum(files), names, fingerprint(array), prepared.changes, prepared.counts)


def _unreadable(case: Case, volume: Volume, error: ReadingError) -> Problem:
    return Problem(error.kind, case.name, f"{volume.path}: {error}")


def _image_problems(case: Case, volume: Volume, array: np.ndarray) -> Iterator[Problem]:
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        count = int((~np.isfinite(array)).sum())
        yield Problem("NaN or Inf", case.name, f"{_name(volume)} holds {count} voxels that are NaN or Inf")
    elif low == high:
        yield Problem("constant image", case.name, f"{_name(volume)} is {low:g} everywhere")


def _absent_classes(case: Case, description: Description, array: np.ndarray) -> Iterator[Problem]:
    """Classes of which this case has no voxel: worth knowing, no fault."""
    assert case.label is not None
    present = set(count_values(array))
    for name, value in description.labels.items():
        values = {value} if isinstance(value, int) else set(value)
        if values != {0} and not values & present:
            yield Problem("class absent", case.name, f"{case.label.path.name} has no voxel of {name}", fatal=False)


def _twin_problems(case: Case, volume: Volume, facts: Facts) -> Iterator[Problem]:
    """A `.nii` beside the `.nii.gz` of the same name must hold the same voxels, or nobody knows which one is meant."""
    if volume.twin is None:
        return
    try:
        mine, other = (
            fingerprint(sitk.GetArrayViewFromImage(read(Volume(path)))) for path in (volume.path, volume.twin)
        )
    except ReadingError as error:
        yield _unreadable(case, Volume(volume.twin), error)
        return
    if mine != other:
        text = f"{volume.twin.name} and {volume.path.name} lie side by side and differ"
        yield Problem("duplicate case", case.name, text)


def _name(volume: Volume) -> str:
    return volume.path.name + ("" if volume.component is None else f" (channel {volume.component})")
