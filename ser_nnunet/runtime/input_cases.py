"""Which images belong to which case: nnU-Net's file names, single files, and folders of DICOM series."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.recipe import Recipe
from ser_nnunet.runtime.scan import DICOM_ENDING, ENDINGS, holds_dicom

CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


@dataclass(frozen=True)
class InputCase:
    """A case to predict.

    Attributes:
        name: of the mask, without ending.
        images: one per channel, in the model's order; empty if there is a problem.
        ending: of the mask.
        problem: why the case can't be predicted; empty if it can.
    """

    name: str
    images: tuple[Path, ...]
    ending: str
    problem: str = ""


def image_ending(path: Path) -> str | None:
    """Return the ending by which a file is known as an image, in lower case; None for other files."""
    return next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), None)


def find_cases(inputs: Sequence[Path], recipe: Recipe) -> list[InputCase]:
    """Return the cases, sorted by name.

    Args:
        inputs: a folder of images named `CASE_0000.nii.gz` as in nnU-Net (or `CASE.nii.gz`, for a model of one
            channel), a folder that is a DICOM series or holds a folder per series (named alike), or the channels of
            one case as files or folders, in the model's order.
        recipe: the model's, for the channels.

    Raises:
        UserError: an input doesn't exist, or there is no image; files named as in nnU-Net are of several cases, or not
            in the model's order of channels.
    """
    missing = [f"{path}: no such file or folder" for path in inputs if not path.exists()]
    if missing:
        raise UserError("\n".join(missing))
    if len(inputs) == 1 and inputs[0].is_dir() and not holds_dicom(inputs[0]):
        entries = [entry for entry in sorted(inputs[0].iterdir()) if not entry.name.startswith(".")]
        images = [path for path in entries if image_ending(path)] or [path for path in entries if holds_dicom(path)]
        if not images:
            raise UserError(
                f"{inputs[0]}: no images found, expected {', '.join(ENDINGS)} or DICOM, named CASE_0000 and so on"
            )
        return _group(images, recipe)
    return [_case(_name_of_case(inputs, recipe), list(inputs), recipe)]


def _name_of_case(inputs: Sequence[Path], recipe: Recipe) -> str:
    """Return the name of the case whose channels are given; raise `UserError` for several cases or another order.

    Without a channel's number in every name, nothing tells whose and which image a file is.
    """
    places = [os.path.realpath(path) for path in inputs]
    if repeated := [path.name for path, place in zip(inputs, places, strict=True) if places.count(place) > 1]:
        raise UserError(f"given more than once: {', '.join(repeated)}; each channel of one case expected")
    matches = [CHANNEL.fullmatch(_stem(path)) for path in inputs]
    numbers = [int(match["channel"]) for match in matches if match]
    if len(numbers) < len(inputs) or max(numbers) >= max(len(recipe.channels), len(inputs)):
        return _stem(inputs[0])
    cases = list(dict.fromkeys(match["case"] for match in matches if match))
    given = ", ".join(path.name for path in inputs)
    if len(cases) > 1:
        raise UserError(
            f"the channels of one case expected, images of {len(cases)} cases given ({given}): put them into a folder, "
            "which may hold any number of cases"
        )
    if numbers != [*range(len(numbers))]:
        expected = ", ".join(f"{number:04d} ({name})" for number, name in enumerate(recipe.channels))
        raise UserError(f"{cases[0]}: the channels {expected} expected in this order, {given} given")
    return cases[0]


def _stem(path: Path) -> str:
    ending = None if path.is_dir() else image_ending(path)
    return path.absolute().name[: -len(ending)] if ending else path.absolute().name


def _case(name: str, images: Sequence[Path], recipe: Recipe, problem: str = "") -> InputCase:
    ending = image_ending(images[0]) if images[0].is_file() else DICOM_ENDING
    ending = ".mha" if ending == ".mhd" else ending  # a header and its voxels can't be renamed apart from each other
    return InputCase(name, () if problem else tuple(images), ending or DICOM_ENDING, problem)


def _group(images: Iterable[Path], recipe: Recipe) -> list[InputCase]:
    """Return the cases of images in one folder, by their names."""
    channels: dict[str, list[tuple[int, Path]]] = {}
    single = []
    for path in images:
        match = CHANNEL.fullmatch(_stem(path))
        if match:
            channels.setdefault(match["case"], []).append((int(match["channel"]), path))
        else:
            single.append(path)
    cases = [(_channels_of_case(name, found, recipe), [path for _, path in found]) for name, found in channels.items()]
    for path in single:
        named = len(recipe.channels) == 1 and not channels
        problem = "" if named else f"{path.name}: a channel number expected in the name, such as {_stem(path)}_0000"
        cases.append((_case(_stem(path), [path], recipe, problem), [path]))
    return sorted(_without_duplicates(cases), key=lambda case: case.name)


def _channels_of_case(name: str, found: Sequence[tuple[int, Path]], recipe: Recipe) -> InputCase:
    files = [path for _, path in sorted(found)]
    numbers = [number for number, _ in found]
    # One picture may hold all channels as its colours, or each is a grey one.
    needed = range(1) if recipe.pictures and set(numbers) == {0} else range(len(recipe.channels))
    problems = [
        f"channel {number:04d} ({recipe.channels[number]}) is missing" for number in needed if number not in numbers
    ]
    problems += [
        f"{path.name}: the model has no channel {number:04d}" for number, path in found if number not in needed
    ]
    problems += [f"channel {number:04d} is there more than once" for number in needed if numbers.count(number) > 1]
    return _case(name, files, recipe, "; ".join(problems))


def _without_duplicates(cases: Sequence[tuple[InputCase, list[Path]]]) -> Iterable[InputCase]:
    """Replace cases of one name, whose masks would overwrite each other, by a problem that names all their files."""
    for name in dict.fromkeys(case.name for case, _ in cases):
        same = [(case, files) for case, files in cases if case.name == name]
        if len(same) == 1:
            yield same[0][0]
            continue
        named = ", ".join(path.name for _, files in same for path in files)
        problems = [f"several images for one mask: {named}", *(case.problem for case, _ in same if case.problem)]
        yield InputCase(name, (), same[0][0].ending, "; ".join(problems))
