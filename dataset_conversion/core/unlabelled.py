"""Scans without labels: training cases whose label is nnU-Net's ignore label, to learn by pseudo-labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ser_nnunet.dataset_conversion.core.ct_values import find_ct_channels
from ser_nnunet.dataset_conversion.core.data_classes import (
    UNLABELLED,
    Case,
    CaseTable,
    DatasetInfo,
    Problem,
)
from ser_nnunet.dataset_conversion.core.pairing import FileIdentity, IdentifiedVolume, build_table, identify_files
from ser_nnunet.dataset_conversion.core.readers import list_source_files
from ser_nnunet.dataset_conversion.core.source_tree import SourceTree, image_stem
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.region_order import IGNORE
from ser_nnunet.utils.regular_files import regular_size

NAME = re.compile(r"(?P<case>.+)_(?P<index>\d{4})")
EXPECTED = "CASE_0000.nii.gz (or .nii, .mhd, .mha)"
ADDED_WORD = re.compile(r"(?<![^\W_])(?:patient|site)(?=\d)")
"""What `folders` writes before numbers in the names of cases: those of patient 19 begin with `patient19`."""


def require_own_folder(folder: Path, source: Path) -> None:
    """Raise `UserError` for a folder of scans without labels that is absent, or is the source itself."""
    if not folder.is_dir():
        raise UserError(f"--unlabelled {folder}: it is no folder; a folder of images {EXPECTED} is expected")
    if folder.resolve() == source.resolve():
        raise UserError(f"--unlabelled {folder} is SOURCE itself: put the scans without labels into their own folder")


def add_unlabelled_cases(table: CaseTable, folder: Path) -> None:
    """Add the scans of a folder, named as in nnU-Net's imagesTs, to the table, with the problems of their files.

    Raises `UserError` for a folder without a file of such a name.
    """
    tree, labelled = SourceTree(folder), [*table.cases, *table.without_images]
    patients = {make_key(case.patient): case.patient for case in labelled}
    roles = tuple(table.info.channels)
    volumes, _ = identify_files(tree, lambda tree, path: identify(tree, path, roles, patients))
    if not volumes:
        held = f"{len(tree.files)} files, such as {tree.shorten(tree.files[0])}" if tree.files else "no files"
        raise UserError(f"--unlabelled {folder}: it holds {held}; images {EXPECTED} are expected")
    added = build_table(tree, table.info, volumes)
    table.problems += [problem for problem in added.problems if problem.kind == "duplicate case"]
    table.problems += find_other_files(tree, volumes)
    table.problems += find_wrong_channels(roles, [*added.cases, *added.without_images], volumes)
    names = {case.name for case in labelled}
    text = f"a case of SOURCE has this name, and so has a scan in {folder.name}"
    table.problems += [Problem("case name", case.name, text) for case in added.cases if case.name in names]
    table.cases = sorted([*table.cases, *added.cases], key=lambda case: case.name)
    table.without_images += added.without_images


def identify(tree: SourceTree, path: Path, roles: tuple[str, ...], patients: Mapping[str, str]) -> FileIdentity | None:
    """Identify an image by its name; the role of a channel that the data set doesn't have is its number."""
    match = NAME.fullmatch(image_stem(path))
    if match is None or path.parent != tree.root:
        return None
    index = int(match["index"])
    role = roles[index] if index < len(roles) else match["index"]
    return FileIdentity(match["case"], role, find_patient(match["case"], patients), UNLABELLED)


def make_key(name: str) -> str:
    """Return a name as it is compared: in lower case, without what `folders` adds and replaces in names."""
    return ADDED_WORD.sub("", re.sub(r"[^\w.-]+", "-", name.lower()))


def find_patient(case: str, patients: Mapping[str, str]) -> str:
    """Return the patient with whose id the case's name begins, the longest of several, or else the case itself.

    No letter or digit may follow: `P1_b` is of the patient P1, `P10` is not.

    Args:
        case: its name.
        patients: `make_key` of an id -> id.
    """
    key = make_key(case)
    for end in range(len(key), 0, -1):
        if not key[end : end + 1].isalnum() and key[:end] in patients:
            return patients[key[:end]]
    return case


def find_other_files(tree: SourceTree, volumes: Iterable[IdentifiedVolume]) -> Iterator[Problem]:
    """Report every file that is no channel of a case: a wrong name, another format, a file in a folder within."""
    used = set()
    for _, volume in volumes:
        used |= {volume.path, volume.uncompressed_copy}
        with suppress(ValueError, OSError):  # no whole .mhd, which the checks of the case report
            regular_size(volume.path)
            used |= set(list_source_files(volume))
    for path in tree.files:
        if path not in used:
            text = f"{tree.root.name}/{tree.shorten(path)}: expected is {EXPECTED}, directly in {tree.root.name}"
            yield Problem("unlabelled file", "", text)


def find_wrong_channels(
    roles: tuple[str, ...], cases: Iterable[Case], volumes: Iterable[IdentifiedVolume]
) -> Iterator[Problem]:
    """Report channels that a case lacks, and files of channels that the data set does not have."""
    for case in cases:
        for index, role in enumerate(roles):
            if role not in case.images:
                yield Problem("missing image", case.name, f"{case.name}_{index:04d}, its {role}, is missing")
    last = f"{len(roles)} ({', '.join(f'{index:04d} {role}' for index, role in enumerate(roles))})"
    for identity, volume in volumes:
        if identity.role not in roles:
            text = f"{volume.path.name} is channel {identity.role}, the data set has {last}"
            yield Problem("extra channel", identity.case, text)


def declare_unlabelled(info: DatasetInfo, cases: Iterable[Case]) -> DatasetInfo:
    """Return the data set with the ignore label, and notes on the cases without annotation, if there are any."""
    count = sum(case.split == UNLABELLED for case in cases)
    if count == 0:
        return info
    values = [value for each in info.labels.values() for value in ([each] if isinstance(each, int) else each)]
    labels = info.labels if IGNORE in info.labels else {**info.labels, IGNORE: max(values) + 1}
    notes = [
        f"Training cases without annotation: {count}. Their label is {IGNORE} ({labels[IGNORE]}), and 0 outside of the "
        "images' content. The trainers SERTrainerSemi and SERTrainerSemiNoSAM learn from them, SER's others leave "
        "them out."
    ]
    if find_ct_channels(info):
        notes.append(
            "nnU-Net normalises CT by the intensities of all voxels whose label is above 0. That includes the label "
            f"{IGNORE}: cases without annotation count with all their voxels, air included. To normalise by the "
            "classes alone, convert without --unlabelled, run nnUNetv2_extract_fingerprint, convert again with "
            "--unlabelled and --overwrite, then plan (docs/datasets.md, Scans without labels)."
        )
    return replace(info, labels=labels, notes=(*info.notes, *notes))
