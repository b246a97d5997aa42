"""From files to the table of cases: pair images and labels, and tell what is missing, left over or there twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ser_nnunet.dataset_conversion.core.data_classes import LABEL, Case, Description, Options, Table, Volume
from ser_nnunet.dataset_conversion.core.problems import Problem
from ser_nnunet.dataset_conversion.core.source_tree import IMAGE_ENDINGS, Tree, stem

from ser_nnunet.errors import UserError


@dataclass(frozen=True)
class Found:
    """What one file is, as its name and folders tell."""

    case: str
    role: str
    """The name of a channel, or `LABEL`."""
    patient: str = ""
    """The case itself where empty."""
    split: str = "train"
    site: str = ""


def choose_channels(description: Description, options: Options) -> Description:
    """Keep the channels that the user named, in the user's order; raises `UserError` for one that doesn't exist."""
    if options.channels is None:
        return description
    known = {role.lower(): role for role in description.channels}
    unknown = [channel for channel in options.channels if channel.lower() not in known]
    if unknown or len({channel.lower() for channel in options.channels}) < len(options.channels):
        asked = " ".join(options.channels)
        raise UserError(f"--channels {asked}: choose among {' '.join(description.channels)}, each once")
    chosen = [known[channel.lower()] for channel in options.channels]
    return replace(description, channels={role: description.channels[role] for role in chosen})


def find_by_name(
    tree: Tree, parse: Callable[[Tree, Path], Found | None]
) -> tuple[list[tuple[Found, Volume]], list[Path]]:
    """Ask `parse` about every image file below the source; return what it knew, and the files that it did not."""
    known, unknown = [], []
    for path, twin in _without_twins(tree.images()):
        found = parse(tree, path)
        if found is None:
            unknown.append(path)
        else:
            known.append((found, Volume(path, twin=twin)))
    return known, unknown


def table_by_name(
    tree: Tree, description: Description, parse: Callable[[Tree, Path], Found | None], expected: str
) -> Table:
    """Return the table of a data set whose files each say by name and folder what they are.

    Raises `UserError`, which names the files expected, where `parse` knows none.
    """
    found, extra = find_by_name(tree, parse)
    if not found:
        raise tree.nothing_found(expected)
    return assemble(tree, description, found, extra)


def assemble(
    tree: Tree, description: Description, found: Iterable[tuple[Found, Volume]], extra: Iterable[Path] = ()
) -> Table:
    """Build the table: one row per case, with every problem of the pairing."""
    table = Table(description, [])
    groups: dict[str, list[tuple[Found, Volume]]] = {}
    for item in found:
        groups.setdefault(item[0].case, []).append(item)
    for name in sorted(groups):
        table.problems += _twice(tree, name, groups[name])
        case, problems = _case(tree, description, name, groups[name])
        table.problems += problems
        (table.cases if case.images else table.without_images).append(case)
    for path in extra:
        text = f"{tree.short(path)} is not part of the layout; it is not used"
        table.problems.append(Problem("extra file", "", text, fatal=False))
    return table


def _without_twins(paths: list[Path]) -> Iterator[tuple[Path, Path | None]]:
    """Each image once: a `.nii` beside the `.nii.gz` of the same name is its twin."""
    by_stem: dict[Path, list[Path]] = {}
    for path in paths:
        by_stem.setdefault(path.with_name(stem(path)), []).append(path)
    for same in by_stem.values():
        same.sort(key=lambda path: [path.name.lower().endswith(end) for end in IMAGE_ENDINGS], reverse=True)
        yield same[0], same[1] if len(same) > 1 else None


def _twice(tree: Tree, name: str, items: list[tuple[Found, Volume]]) -> Iterator[Problem]:
    by_role: dict[str, list[Volume]] = {}
    for found, volume in items:
        by_role.setdefault(found.role, []).append(volume)
    for role, volumes in by_role.items():
        if len(volumes) > 1:
            files = ", ".join(tree.short(volume.path) for volume in volumes)
            yield Problem("duplicate case", name, f"{len(volumes)} files are its {role}: {files}")
    if len({found.split for found, _ in items}) > 1:
        files = ", ".join(f"{tree.short(volume.path)} ({found.split})" for found, volume in items)
        yield Problem("duplicate case", name, f"it is in train and in test: {files}")


def _case(
    tree: Tree, description: Description, name: str, items: list[tuple[Found, Volume]]
) -> tuple[Case, list[Problem]]:
    first = items[0][0]
    volumes: dict[str, Volume] = {}
    spares = []
    for found, volume in items:
        if volumes.setdefault(found.role, volume) is not volume and found.role in (*description.channels, LABEL):
            spares.append((found.role, volume))
    images = {role: volumes[role] for role in description.channels if role in volumes}
    case = Case(name, first.patient or name, images, volumes.get(LABEL), first.split, first.site, tuple(spares))
    problems = list(_incomplete(tree, case, description, volumes))
    return case, problems


def _incomplete(tree: Tree, case: Case, description: Description, volumes: dict[str, Volume]) -> Iterator[Problem]:
    where = tree.short(next(iter(volumes.values())).path.parent)
    if not case.images and case.label is not None:
        yield Problem("label without image", case.name, f"{tree.short(case.label.path)} has no image")
    elif missing := [role for role in description.channels if role not in case.images]:
        has = ", ".join(case.images) or "none"
        yield Problem("missing image", case.name, f"{where} lacks {', '.join(missing)} (has {has})")
    if case.label is None:
        is_train = case.split == "train"
        text = f"{where} has no label" + ("" if is_train else ": it can be predicted, not evaluated")
        yield Problem("image without label", case.name, text, fatal=is_train)
