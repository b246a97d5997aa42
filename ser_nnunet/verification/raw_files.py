"""The files of a data set in nnU-Net's raw format, identified as nnU-Net does, and what it would stumble over."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ser_nnunet.dataset_conversion.core.data_classes import LABEL, Problem, Volume
from ser_nnunet.dataset_conversion.core.pairing import FileIdentity, IdentifiedVolume
from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.labels import Labels
from ser_nnunet.utils.image_files import check_image_header

FOLDERS = {
    "imagesTr": ("train", False),
    "labelsTr": ("train", True),
    "imagesTs": ("test", False),
    "labelsTs": ("test", True),
}
CHANNEL = re.compile(r"(?P<case>.+)_(?P<index>\d{4})")
BESIDE = (".json",)
"""Endings of files that belong beside images: nnU-Net's reader of TIFF takes the spacing from them."""
RGB_ENDINGS = (".png", ".bmp", ".tif")
"""Formats in which one file may hold several channels (nnU-Net's NaturalImage2DIO)."""


def identify_raw_files(
    folder: Path, labels: Labels, reader: str, roles: tuple[str, ...]
) -> tuple[list[IdentifiedVolume], list[Problem]]:
    """Return what every file is, and the problems of the names.

    Args:
        folder: `DatasetXXX_Name`.
        labels: of its dataset.json.
        reader: name of nnU-Net's reader class.
        roles: of the channels, in their order.
    """
    problems: list[Problem] = []
    listed = labels.content.get("dataset")
    volumes = list(_read_file_list(folder, labels, listed, roles, problems)) if listed is not None else []
    for name in FOLDERS if listed is None else ("imagesTs", "labelsTs"):
        if (folder / name).is_dir():
            volumes += _identify_folder(folder / name, labels.file_ending, roles, problems)
    train = {identity.case for identity, _ in volumes if identity.split == "train"}
    shared = sorted({identity.case for identity, _ in volumes if identity.split == "test" and identity.case in train})
    for case in shared:
        text = "imagesTr and imagesTs both have a case of this name: is it in training and test?"
        problems.append(Problem("case name", case, text, fatal=False))
    renamed = [
        (replace(identity, case=f"{identity.case} (test)", patient=identity.case), volume)
        if identity.split == "test" and identity.case in shared
        else (identity, volume)
        for identity, volume in volumes
    ]
    as_read = [(identity, replace(volume, reader=reader)) for identity, volume in renamed]
    return list(_split_components(as_read, roles)), problems


def _identify_folder(
    folder: Path, ending: str, roles: tuple[str, ...], problems: list[Problem]
) -> Iterator[IdentifiedVolume]:
    """Yield the files of one folder, and add a problem for each that nnU-Net ignores or stumbles over."""
    split, is_label = FOLDERS[folder.name]
    names = sorted(entry.name for entry in os.scandir(folder))
    for name in names:
        stem = name[: -len(ending)]
        match = CHANNEL.fullmatch(stem)
        place = f"{folder.name}/{name}"
        if not name.endswith(ending):
            copy = name.endswith(".nii") and f"{name}.gz" in names  # compared with it, see `Volume.uncompressed_copy`
            if not copy and not name.endswith(BESIDE):
                text = f"{place} does not end in {ending}: nnU-Net ignores it"
                problems.append(Problem("extra file", "", text, fatal=False))
        elif name.startswith("."):
            text = f"{place} is hidden, and nnU-Net takes it for an image (macOS leaves such files): delete it"
            problems.append(Problem("extra file", "", text))
        elif is_label:
            yield FileIdentity(stem, LABEL, split=split), _make_volume(folder / name, names)
        elif match is None:
            text = f"{place} is not named CASE_0000{ending}: nnU-Net would take it for another case"
            problems.append(Problem("extra file", "", text))
        elif int(match["index"]) >= len(roles):
            text = f"{place} is channel {int(match['index'])}, dataset.json has {len(roles)} (0 to {len(roles) - 1})"
            problems.append(Problem("extra channel", match["case"], text))
        else:
            role = roles[int(match["index"])]
            yield FileIdentity(match["case"], role, split=split), _make_volume(folder / name, names)


def _make_volume(file: Path, names: list[str]) -> Volume:
    copy = file.with_name(file.name.removesuffix(".gz"))
    has_copy = file.name.lower().endswith(".nii.gz") and copy.name in names
    return Volume(file, uncompressed_copy=copy if has_copy else None)


def _read_file_list(
    folder: Path, labels: Labels, listed: Any, roles: tuple[str, ...], problems: list[Problem]
) -> Iterator[IdentifiedVolume]:
    """Yield the training files that dataset.json lists under `dataset`, which nnU-Net takes instead of the folders."""
    expected = f"{labels.file}: 'dataset' must be {{case: {{'images': [files], 'label': file}}}}"
    if not isinstance(listed, dict):
        raise UserError(expected)
    for case, entry in listed.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
            raise UserError(f"{expected}, {case} has another form")
        images = entry.get("images")
        if not isinstance(images, list) or not all(isinstance(each, str) for each in images):
            raise UserError(f"{expected}, {case} has another form")
        if len(images) > len(roles):
            text = f"dataset.json lists {len(images)} images, its channel_names are {len(roles)}"
            problems.append(Problem("extra channel", case, text))
        for role, name in [*zip(roles, images, strict=False), (LABEL, entry["label"])]:
            path = folder / os.path.expandvars(name)
            if path.is_file():
                yield FileIdentity(case, role), Volume(path)
            else:
                text = f"dataset.json lists {name} as its {role}, which does not exist"
                problems.append(Problem("listed file missing", case, text))


def _split_components(volumes: list[IdentifiedVolume], roles: tuple[str, ...]) -> Iterator[IdentifiedVolume]:
    """Yield the volumes, an RGB image once per channel: `_0000.png` alone may hold the channels 0, 1 and 2."""
    of_case = Counter((identity.case, identity.split) for identity, _ in volumes if identity.role != LABEL)
    for identity, volume in volumes:
        is_alone = identity.role == roles[0] and of_case[identity.case, identity.split] == 1
        is_picture = volume.path.name.lower().endswith(RGB_ENDINGS)
        components = _count_components(volume.path) if is_alone and is_picture and len(roles) > 1 else 1
        if components == 1:
            yield identity, volume
        for index, role in enumerate(roles if components > 1 else ()):
            yield replace(identity, role=role), replace(volume, component=index, components=len(roles))


def _count_components(file: Path) -> int:
    try:
        check_image_header(file)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(file))
        reader.ReadImageInformation()
    except RuntimeError:  # reported when its voxels are read
        return 1
    return int(reader.GetNumberOfComponents())
