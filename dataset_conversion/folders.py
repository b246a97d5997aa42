"""Any folder of images: a pattern per channel and for the label says which file is what.

Layout: the user's, such as `patient{patient}/{patient}_FLAIR.nii.gz`. `{patient}` groups the folds, `{time}` tells
the scans of a patient apart, `{site}` balances the folds and tells patients of equal numbers apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ser_nnunet.dataset_conversion.core.class_options import Description, describe_dataset
from ser_nnunet.dataset_conversion.core.data_classes import LABEL, CaseTable, Options, Problem
from ser_nnunet.dataset_conversion.core.pairing import FileIdentity, build_table, identify_files
from ser_nnunet.dataset_conversion.core.path_patterns import PathPattern
from ser_nnunet.dataset_conversion.core.source_tree import SourceTree
from ser_nnunet.errors import UserError
from ser_nnunet.utils.printable import counted

ORDER = ("site", "patient", "time")
"""Placeholders at the beginning of a case's name; others follow in the pattern's order."""
LISTED = 5
"""Files that one message names."""


@dataclass(frozen=True)
class FolderLayout:
    """What the files are.

    Attributes:
        channels: channel -> pattern of its files, in nnU-Net's order (see `PathPattern`). `CT` is normalised as CT.
        label: pattern of the label's files.
        description: classes, values, source.
        test: patterns of test cases' files, or of folders around them; they are written to imagesTs.
    """

    channels: Mapping[str, str]
    label: str
    description: Description
    test: tuple[str, ...] = ()


@dataclass(frozen=True)
class Patterns:
    """The parsed patterns: by role those of the images and the label, and those of the test cases."""

    by_role: Mapping[str, PathPattern]
    test: tuple[PathPattern, ...]


def find(tree: SourceTree, options: Options) -> CaseTable:
    """Return the table of cases.

    Raises:
        UserError: a malformed pattern, one that no file matches (names the nearest files), or a file for two of them.
    """
    layout = options.layout
    if not isinstance(layout, FolderLayout):
        raise UserError("convert folders needs patterns: --channel NAME PATTERN, --label PATTERN and --labels")
    patterns = parse_patterns(layout)
    info = describe_dataset(layout.description, "Folders", tree.root.resolve().name, tuple(layout.channels))
    files = {path: tree.shorten(path) for path in tree.images()}
    if not files:
        raise tree.no_cases_error(f"{next(iter(layout.channels.values()))} (.nii.gz, .nii, .mhd or .mha)")
    check_matches(patterns, list(files.values()))
    volumes, unused = identify_files(tree, lambda tree, path: identify(tree, path, patterns))
    table = build_table(tree, info, volumes)
    if unused:
        incomplete = {
            volume.path.parent
            for case in [*table.cases, *table.without_images]
            for volume in case.volumes().values()
            if len(case.volumes()) <= len(layout.channels)
        }
        unused.sort(key=lambda path: path.parent not in incomplete)  # likely the ones that are missing
        names = ", ".join(tree.shorten(path) for path in unused[:LISTED])
        more = f" and {len(unused) - LISTED} more" if len(unused) > LISTED else ""
        match = "matches no pattern and is" if len(unused) == 1 else "match no pattern and are"
        text = f"{counted(len(unused), 'image')} {match} not used: {names}{more}"
        table.problems.append(Problem("extra file", "", text, fatal=False))
    return table


def parse_patterns(layout: FolderLayout) -> Patterns:
    """Parse all patterns; raises `UserError` for one that is malformed, and for placeholders that differ."""
    by_role = {name: PathPattern.parse(text, f"--channel {name}") for name, text in layout.channels.items()}
    if LABEL in by_role:
        raise UserError(f"--channel {LABEL}: a channel needs another name, the label has --label")
    by_role[LABEL] = PathPattern.parse(layout.label, "--label")
    lists = {role: ", ".join(f"{{{name}}}" for name in sorted(pattern.names)) for role, pattern in by_role.items()}
    if absent := [role for role, pattern in by_role.items() if "patient" not in pattern.names]:
        raise UserError(f"the patterns of {', '.join(absent)} lack {{patient}}, which groups the folds")
    if len(set(lists.values())) > 1:
        lines = "\n".join(f"  {role}: {names}" for role, names in lists.items())
        raise UserError(f"all patterns must have the same placeholders, which tell the cases apart; found\n{lines}")
    return Patterns(by_role, tuple(PathPattern.parse(text, "--test") for text in layout.test))


def check_matches(patterns: Patterns, files: list[str]) -> None:
    """Raise `UserError` for patterns that no file matches and for files that match two of them, all at once."""
    faults = []
    for role, pattern in patterns.by_role.items():
        if not any(pattern.match(file) for file in files):
            nearest = "".join(f"\n    {file}" for file in pattern.find_nearest(files))
            faults.append(f"  {role}: no file matches {pattern.text!r}; nearest are{nearest}")
    for pattern in patterns.test:
        if not any(is_test(file, (pattern,)) for file in files):
            folders = sorted({folder for file in files for folder in Path(file).parts[:-1]})[:LISTED]
            faults.append(f"  --test: no file or folder matches {pattern.text!r}; folders are {', '.join(folders)}")
    for file in files:
        roles = [role for role, pattern in patterns.by_role.items() if pattern.match(file)]
        if len(roles) > 1:
            faults.append(f"  {file} matches the patterns of {' and '.join(roles)}: make one of them more specific")
    if faults:
        more = [f"  and {len(faults) - 20} more"] if len(faults) > 20 else []
        raise UserError("\n".join(["the patterns do not fit the files", *faults[:20], *more]))


def identify(tree: SourceTree, path: Path, patterns: Patterns) -> FileIdentity | None:
    """Identify a file by the pattern that it matches."""
    file = tree.shorten(path)
    for role, pattern in patterns.by_role.items():
        if (values := pattern.match(file)) is not None:
            parts = [*(name for name in ORDER if name in values), *(name for name in values if name not in ORDER)]
            site = values.get("site", "")
            return FileIdentity(
                case=make_case_name([(name, values[name]) for name in parts]),
                role=role,
                patient=f"{site}_{values['patient']}" if site else values["patient"],
                split="test" if is_test(file, patterns.test) else "train",
                site=site,
            )
    return None


def is_test(file: str, patterns: tuple[PathPattern, ...]) -> bool:
    """Return whether a file, or a folder around it, matches one of the patterns of test cases."""
    places = [file, *(parent.as_posix() for parent in Path(file).parents if parent.name)]
    return any(pattern.match(place) is not None for pattern in patterns for place in places)


def make_case_name(values: list[tuple[str, str]]) -> str:
    """Return a case's name from (placeholder, value): `P19_time02` for patient P19 and time 02.

    A number alone gets its placeholder's name before it; what file names should not hold becomes `-`.
    """
    words = [f"{name}{value}" if value.isdigit() else value for name, value in values]
    return "_".join(re.sub(r"[^\w.-]+", "-", word) for word in words)
