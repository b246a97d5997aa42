"""Which prediction belongs to which reference: files paired by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_nnunet.errors import UserError

LISTED = 10
"""Cases that one message names."""


@dataclass(frozen=True)
class CaseFiles:
    """One case's files: the reference, a prediction per method, and the first image channel if images are known."""

    name: str
    reference: Path
    predictions: Mapping[str, Path]
    image: Path | None = None

    @property
    def files(self) -> list[Path]:
        """The segmentations, the reference first."""
        return [self.reference, *self.predictions.values()]


def pair_cases(
    reference: Path,
    predictions: Mapping[str, Path],
    file_ending: str,
    *,
    images: Path | None = None,
    only: Sequence[str] | None = None,
    chill: bool = False,
) -> tuple[list[CaseFiles], list[str]]:
    """Pair the files of the folders by name.

    Args:
        reference: folder of reference segmentations, `<case><file_ending>`.
        predictions: method name -> folder of predictions, named alike.
        file_ending: for example `.nii.gz`.
        images: folder of `<case>_0000<file_ending>`, or None.
        only: evaluate these cases and no others.
        chill: as nnU-Net's option of this name: evaluate the cases that every method has predicted instead of requiring
            all.

    Returns:
        the cases that have a reference, with the predictions that they have; and the problems: all missing and
        extra predictions, and missing images. Without problems every case has a prediction by every method.

    Raises:
        UserError: folders that don't exist.
    """
    require_folders([reference, *predictions.values(), *([images] if images else [])])
    references = find_segmentations(reference, file_ending)
    predicted = {method: find_segmentations(folder, file_ending) for method, folder in predictions.items()}
    wanted = sorted(set(only)) if only is not None else sorted(references)
    if chill:
        wanted = [name for name in wanted if all(name in files for files in predicted.values())]
    absent = [name for name in wanted if name not in references]
    problems = list_cases(absent, f"no reference in {reference} for")
    for method, files in predicted.items():
        folder = predictions[method]
        problems += list_cases([name for name in wanted if name not in files], f"missing predictions in {folder}:")
        extra = sorted(set(files) - set(references)) if only is None else []
        problems += list_cases(extra, f"extra predictions without a reference in {folder}:")
    image_files = {name: images / f"{name}_0000{file_ending}" for name in wanted} if images else {}
    lacking = [name for name, file in image_files.items() if not file.is_file()]
    problems += list_cases(lacking, f"no image _0000{file_ending} in {images} for")
    if not wanted:
        problems.append(
            f"no case at all: {reference} and {', '.join(map(str, predictions.values()))} share no *{file_ending}"
        )
    cases = [
        CaseFiles(
            name,
            references[name],
            {method: files[name] for method, files in predicted.items() if name in files},
            image_files.get(name),
        )
        for name in wanted
        if name in references
    ]
    return cases, problems


def require_folders(folders: Sequence[Path]) -> None:
    """Raise `UserError`, with all of them, if folders don't exist."""
    if absent := [str(folder) for folder in folders if not folder.is_dir()]:
        raise UserError(f"no such folder: {', '.join(absent)}")


def find_segmentations(folder: Path, file_ending: str) -> dict[str, Path]:
    """Return case name -> file of the segmentations in a folder."""
    files = (file for file in folder.iterdir() if file.name.endswith(file_ending) and not file.name.startswith("."))
    return {file.name[: -len(file_ending)]: file for file in files}


def list_cases(names: Sequence[str], what: str) -> list[str]:
    """Return one line that names the cases with the same problem, the first ones of many, or no line."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return [f"{what} {', '.join(names[:LISTED])}{more} ({len(names)})"] if names else []
