"""From files to the table of cases: pair images and labels, and report what is missing, unused or present twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ser_nnunet.dataset_conversion.core.data_classes import (
    LABEL,
    Case,
    CaseTable,
    DatasetInfo,
    Options,
    Problem,
    Volume,
)
from ser_nnunet.dataset_conversion.core.source_tree import IMAGE_ENDINGS, SourceTree, image_stem
from ser_nnunet.errors import UserError


@dataclass(frozen=True)
class FileIdentity:
    """What one file is, by its name and the folders around it."""

    case: str
    role: str
    """The name of a channel, or `LABEL`."""
    patient: str = ""
    """The case itself where empty."""
    split: str = "train"
    site: str = ""


IdentifiedVolume = tuple[FileIdentity, Volume]
Identify = Callable[[SourceTree, Path], FileIdentity | None]
"""What a file of the source is; None for one that is not part of the data set."""


def choose_channels(info: DatasetInfo, options: Options) -> DatasetInfo:
    """Keep the channels that the user named, in the user's order; raises `UserError` for one that doesn't exist."""
    if options.channels is None:
        return info
    known = {role.lower(): role for role in info.channels}
    unknown = [channel for channel in options.channels if channel.lower() not in known]
    if unknown or len({channel.lower() for channel in options.channels}) < len(options.channels):
        asked = " ".join(options.channels)
        raise UserError(f"--channels {asked}: choose among {' '.join(info.channels)}, each once")
    chosen = [known[channel.lower()] for channel in options.channels]
    return replace(info, channels={role: info.channels[role] for role in chosen})


def identify_files(tree: SourceTree, identify: Identify) -> tuple[list[IdentifiedVolume], list[Path]]:
    """Identify every image file below the source; return the identified volumes, and the files that are unknown.

    A `.nii` file beside the `.nii.gz` file of the same name becomes its `uncompressed_copy`.
    """
    by_stem: dict[Path, list[Path]] = {}
    for path in tree.images():
        by_stem.setdefault(path.with_name(image_stem(path)), []).append(path)
    known, unknown = [], []
    for same in by_stem.values():
        same.sort(key=lambda path: [path.name.lower().endswith(end) for end in IMAGE_ENDINGS], reverse=True)
        identity = identify(tree, same[0])
        if identity is None:
            unknown.append(same[0])
        else:
            known.append((identity, Volume(same[0], uncompressed_copy=same[1] if len(same) > 1 else None)))
    return known, unknown


def find_cases(tree: SourceTree, info: DatasetInfo, identify: Identify, expected: str) -> CaseTable:
    """Return the table of a data set each of whose files is identified by its name and folders.

    Raises `UserError`, which names the `expected` files, where no file can be identified.
    """
    volumes, unused = identify_files(tree, identify)
    if not volumes:
        raise tree.no_cases_error(expected)
    return build_table(tree, info, volumes, unused)


def build_table(
    tree: SourceTree, info: DatasetInfo, volumes: Iterable[IdentifiedVolume], unused: Iterable[Path] = ()
) -> CaseTable:
    """Build the table from identified volumes: one row per case, with every problem of the pairing."""
    table = CaseTable(info, [])
    groups: dict[str, list[IdentifiedVolume]] = {}
    for item in volumes:
        groups.setdefault(item[0].case, []).append(item)
    for name in sorted(groups):
        case = _build_case(info, groups[name])
        table.problems += _find_duplicate_files(tree, groups[name])
        table.problems += _find_missing_files(tree, info, case, folder=groups[name][0][1].path.parent)
        (table.cases if case.images else table.without_images).append(case)
    for path in unused:
        text = f"{tree.shorten(path)} is not part of the layout; it is not used"
        table.problems.append(Problem("extra file", "", text, fatal=False))
    return table


def _build_case(info: DatasetInfo, items: list[IdentifiedVolume]) -> Case:
    """Return the case to which all the volumes belong; the first volume of a role is used."""
    first = items[0][0]
    volumes: dict[str, Volume] = {}
    duplicates = []
    for identity, volume in items:
        if volumes.setdefault(identity.role, volume) is not volume and identity.role in (*info.channels, LABEL):
            duplicates.append((identity.role, volume))
    return Case(
        name=first.case,
        patient=first.patient or first.case,
        images={role: volumes[role] for role in info.channels if role in volumes},
        label=volumes.get(LABEL),
        split=first.split,
        site=first.site,
        duplicates=tuple(duplicates),
    )


def _find_duplicate_files(tree: SourceTree, items: list[IdentifiedVolume]) -> Iterator[Problem]:
    name = items[0][0].case
    by_role: dict[str, list[Volume]] = {}
    for identity, volume in items:
        by_role.setdefault(identity.role, []).append(volume)
    for role, volumes in by_role.items():
        if len(volumes) > 1:
            files = ", ".join(tree.shorten(volume.path) for volume in volumes)
            yield Problem("duplicate case", name, f"{len(volumes)} files are its {role}: {files}")
    if len({identity.split for identity, _ in items}) > 1:
        files = ", ".join(f"{tree.shorten(volume.path)} ({identity.split})" for identity, volume in items)
        yield Problem("duplicate case", name, f"it is in train and in test: {files}")


def _find_missing_files(tree: SourceTree, info: DatasetInfo, case: Case, folder: Path) -> Iterator[Problem]:
    where = tree.shorten(folder)
    if not case.images and case.label is not None:
        yield Problem("label without image", case.name, f"{tree.shorten(case.label.path)} has no image")
    elif missing := [role for role in info.channels if role not in case.images]:
        found = ", ".join(case.images) or "none"
        yield Problem("missing image", case.name, f"{where} lacks {', '.join(missing)} (has {found})")
    if case.label is None:
        is_train = case.split == "train"
        text = f"{where} has no label" + ("" if is_train else ": it can be predicted, not evaluated")
        yield Problem("image without label", case.name, text, fatal=is_train)
