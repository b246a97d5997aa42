"""Which prediction belongs to which reference, and whether both lie on the same grid; all problems at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import SimpleITK as sitk

from ser_nnunet.errors import UserError


@dataclass(frozen=True)
class Case:
    """One case's files: the reference, a prediction per method, and the first image channel if images are known."""

    name: str
    reference: Path
    predictions: Mapping[str, Path]
    image: Path | None = None

    @property
    def files(self) -> list[Path]:
        """The segmentations, the reference first."""
        return [self.reference, *self.predictions.values()]


@dataclass(frozen=True)
class Geometry:
    """A file's grid: voxels and mm per axis, mm of the first voxel, direction cosines; all in x, y, z order."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    def difference(self, other: Geometry) -> str:
        """Return what differs beyond rounding, or an empty string.

        Tools round headers: origins may be off by 1 % of a voxel, spacings and directions by 1e-3.
        """
        if self.size != other.size:
            return f"{_numbers(other.size)} voxels instead of {_numbers(self.size)}"
        if not _close(self.spacing, other.spacing, 1e-3 * min(self.spacing)):
            return f"spacing {_numbers(other.spacing)} mm instead of {_numbers(self.spacing)} mm"
        if not _close(self.origin, other.origin, 1e-2 * min(self.spacing)):
            return f"origin {_numbers(other.origin)} instead of {_numbers(self.origin)} mm"
        if not _close(self.direction, other.direction, 1e-3):
            return f"direction {_numbers(other.direction)} instead of {_numbers(self.direction)}"
        return ""


def pair_cases(
    reference: Path,
    predictions: Mapping[str, Path],
    file_ending: str,
    *,
    images: Path | None = None,
    only: Sequence[str] | None = None,
    chill: bool = False,
) -> tuple[list[Case], list[str]]:
    """Pair the files of the folders by name.

    Returns:
        the cases that have a reference, with the predictions that they have; and the problems: all missing and
        extra predictions, and missing images. Without problems every case has a prediction by every method.

    Args:
        reference: folder of reference segmentations, `<case><file_ending>`.
        predictions: method name -> folder of predictions, named alike.
        file_ending: for example `.nii.gz`.
        images: folder of `<case>_0000<file_ending>`, or None.
        only: evaluate these cases and no others.
        chill: nnU-Net's word: evaluate the cases that every method has predicted, instead of insisting on all.

    Raises:
        UserError: folders that don't exist.
    """
    folders = [reference, *predictions.values(), *([images] if images else [])]
    if absent_folders := [str(folder) for folder in folders if not folder.is_dir()]:
        raise UserError(f"no such folder: {', '.join(absent_folders)}")
    references = _case_files(reference, file_ending)
    predicted = {method: _case_files(folder, file_ending) for method, folder in predictions.items()}
    wanted = sorted(set(only)) if only is not None else sorted(references)
    if chill:
        wanted = [name for name in wanted if all(name in files for files in predicted.values())]
    absent = [name for name in wanted if name not in references]
    problems = _listed(absent, f"no reference in {reference} for")
    for method, files in predicted.items():
        folder = predictions[method]
        problems += _listed([name for name in wanted if name not in files], f"missing predictions in {folder}:")
        extra = sorted(set(files) - set(references)) if only is None else []
        problems += _listed(extra, f"extra predictions without a reference in {folder}:")
    image_files = {name: images / f"{name}_0000{file_ending}" for name in wanted} if images else {}
    lacking = [name for name, file in image_files.items() if not file.is_file()]
    problems += _listed(lacking, f"no image _0000{file_ending} in {images} for")
    if not wanted:
        problems.append(
            f"no case at all: {reference} and {', '.join(map(str, predictions.values()))} share no *{file_ending}"
        )
    cases = [
        Case(
            name,
            references[name],
            {method: files[name] for method, files in predicted.items() if name in files},
            image_files.get(name),
        )
        for name in wanted
        if name in references
    ]
    return cases, problems


@dataclass
class Headers:
    """What the headers of one or more cases say.

    Attributes:
        problems: every unreadable file and every difference between grids.
        unreadable: files whose voxels need no look any more.
        largest: number of voxels of the largest reference.
    """

    problems: list[str] = field(default_factory=list)
    unreadable: set[Path] = field(default_factory=set)
    largest: int = 0


def check_geometry(cases: Sequence[Case]) -> Headers:
    """Compare the headers of every pair, without reading voxels."""
    with ThreadPoolExecutor(8) as pool:  # waits for the disk, not for the processor
        results = list(pool.map(_compare_headers, cases))
    return Headers(
        [problem for found in results for problem in found.problems],
        set().union(*(found.unreadable for found in results)),
        max((found.largest for found in results), default=0),
    )


def fail_on(*groups: tuple[Sequence[str], str, str]) -> None:
    """Raise one `UserError` that lists all problems, if there are any.

    Args:
        groups: each the problems of one kind, what they are, and what to do about them.
    """
    lines: list[str] = []
    for problems, what, advice in groups:
        if problems:
            lines += [f"{what}:", *(f"  {problem}" for problem in problems), advice]
    if lines:
        raise UserError("\n".join(lines))


def _listed(names: Sequence[str], what: str) -> list[str]:
    """One line that names all cases with the same problem; none if there are none."""
    return [f"{what} {', '.join(names)} ({len(names)})"] if names else []


def _case_files(folder: Path, file_ending: str) -> dict[str, Path]:
    files = (file for file in folder.iterdir() if file.name.endswith(file_ending) and not file.name.startswith("."))
    return {file.name[: -len(file_ending)]: file for file in files}


def _compare_headers(case: Case) -> Headers:
    found = Headers()
    reference = _geometry_or_note(case.name, case.reference, found)
    for file in case.predictions.values():
        geometry = _geometry_or_note(case.name, file, found)
        if reference and geometry and (difference := reference.difference(geometry)):
            found.problems.append(f"{case.name}: {file} has {difference} of {case.reference}")
    found.largest = math.prod(reference.size) if reference else 0
    return found


def _geometry_or_note(case: str, file: Path, found: Headers) -> Geometry | None:
    try:
        return read_geometry(file)
    except RuntimeError as error:
        found.problems.append(f"{case}: {file} cannot be read ({_reason(error)})")
        found.unreadable.add(file)
        return None


def read_geometry(file: Path) -> Geometry:
    """Read a header (RuntimeError if SimpleITK can't)."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    return Geometry(reader.GetSize(), reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())


def _close(one: Sequence[float], other: Sequence[float], tolerance: float) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))


def _numbers(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.6g}" for value in values)


def _reason(error: Exception) -> str:
    """The last line of ITK's message, which says what is wrong; the lines before say where in ITK."""
    return str(error).strip().splitlines()[-1].strip()
