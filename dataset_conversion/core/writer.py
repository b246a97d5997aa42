"""Write a data set that passed all checks: copy the files that are right already, write the others."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import binary_fill_holes

from ser_nnunet.dataset_conversion.core.data_classes import (
    LABEL,
    UNLABELLED,
    Case,
    CaseReport,
    ConversionReport,
    DatasetInfo,
    VolumeFacts,
)
from ser_nnunet.dataset_conversion.core.metadata import make_conversion_json, make_dataset_json
from ser_nnunet.dataset_conversion.core.output_folder import atomic_folder, make_output_path
from ser_nnunet.dataset_conversion.core.source_tree import SourceTree
from ser_nnunet.dataset_conversion.core.standardize import standardize_image, standardize_label
from ser_nnunet.dataset_conversion.core.workers import map_cases
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.region_order import IGNORE
from ser_nnunet.utils.files import write_json
from ser_nnunet.utils.geometry import Grid
from ser_nnunet.utils.hashing import copy_with_sha256, file_sha256, voxel_hash


@dataclass(frozen=True)
class CaseToWrite:
    """A case that passed all checks, with what they found out, and the folder to write into."""

    case: Case
    info: DatasetInfo
    facts: tuple[VolumeFacts, ...]
    folder: Path


def write_dataset(
    report: ConversionReport,
    tree: SourceTree,
    case_reports: Mapping[str, CaseReport],
    raw: Path,
    options: Mapping[str, Any],
    processes: int | None,
) -> Path:
    """Write images, labels and JSON files to `raw / report.name`, completely or not at all; return that folder.

    `options` are recorded in `conversion.json`. Raises `UserError` if the files can't be written.
    """
    target: Path = raw / report.name
    check_disk_space(case_reports, raw)
    try:
        with atomic_folder(raw, report.name) as folder:
            items = [
                CaseToWrite(case, report.info, tuple(case_reports[case.name].facts), folder) for case in report.cases
            ]
            checksums: dict[str, str] = {}
            for written in map_cases(write_case, items, processes, "writing"):
                checksums.update(written)
            write_json(folder / "dataset.json", make_dataset_json(report), indent=2)
            if report.splits:
                write_json(folder / "splits_final.json", report.splits, indent=2)
            record = make_conversion_json(report, tree, case_reports, checksums, options)
            write_json(folder / "conversion.json", record, indent=2)
    except OSError as error:
        raise UserError(f"writing to {raw} failed, nothing was left behind: {error}") from error
    return target


def check_disk_space(case_reports: Mapping[str, CaseReport], raw: Path) -> None:
    """Refuse to begin if the files that are copied, without those that are written anew, do not fit on the disk."""
    facts = [facts for report in case_reports.values() for facts in report.facts]
    copied = {file for each in facts if not each.changes for file in each.sources}
    needed = sum(Path(file).stat().st_size for file in copied)
    existing = next(folder for folder in (raw, *raw.resolve().parents) if folder.exists())
    if needed > (free := shutil.disk_usage(existing).free):
        raise UserError(f"{raw} has {free / 2**30:.1f} GiB left, the images need {needed / 2**30:.1f} GiB")


def write_case(item: CaseToWrite) -> dict[str, str]:
    """Write all volumes of a case; return the SHA-256 of every file written, by its path below the folder.

    A case without annotation gets a label that is ignored wherever the image has content.

    Raises `OSError` if a source file is not the one that was checked, or a file cannot be written completely.
    """
    written = {}
    volumes = item.case.volumes()
    first = next(iter(item.case.images))
    grid = next(facts.grid for facts in item.facts if facts.role == first)
    for facts in sorted(item.facts, key=lambda facts: list(volumes).index(facts.role)):
        path = make_output_path(item.case, facts.role)
        target, volume = item.folder / path, volumes[facts.role]
        target.parent.mkdir(exist_ok=True)
        if not facts.changes:
            written[path] = copy_with_sha256(volume.path, target)
            if written[path] != facts.sources[str(volume.path)]:
                raise _describe_change(volume.path)
        elif facts.role == LABEL:
            written[path] = _write_checked(standardize_label(item.case, volume, item.info, grid).image, target, facts)
        else:
            reference = None if facts.role == first else grid
            image = standardize_image(item.case, volume, item.info, reference).image
            written[path] = _write_checked(image, target, facts)
    if item.case.split == UNLABELLED:
        path = make_output_path(item.case, LABEL)
        channels = [item.folder / make_output_path(item.case, role) for role in item.case.images]
        image = make_ignored_label(item.info, grid, channels)
        written[path] = _write_image(image, item.folder / path, voxel_hash(sitk.GetArrayViewFromImage(image)))
    return written


def make_ignored_label(info: DatasetInfo, grid: Grid, channels: Iterable[Path]) -> sitk.Image:
    """Return a label with the data set's ignore label everywhere but outside of the image's content, which has 0.

    nnU-Net leaves voxels outside of the content out of the normalisation of skull-stripped brains if their label is 0.
    As there, the content is what isn't 0 in every channel, with its holes.

    Args:
        info: the data set.
        grid: of the channels.
        channels: their files.
    """
    ignored = info.labels[IGNORE]
    content = np.zeros(grid.size[::-1], bool)
    for channel in channels:
        content |= sitk.GetArrayFromImage(sitk.ReadImage(str(channel))) != 0
    voxels = np.where(binary_fill_holes(content), ignored, 0).astype(np.min_scalar_type(ignored))  # uint8 up to 255
    image = sitk.GetImageFromArray(voxels)
    grid.impose(image)
    return image


def _write_checked(image: sitk.Image, target: Path, facts: VolumeFacts) -> str:
    """Write a file and return its SHA-256; raises `OSError` if its voxels are not those that were checked."""
    if voxel_hash(sitk.GetArrayViewFromImage(image)) != facts.voxel_hash:
        raise _describe_change(Path(next(iter(facts.sources))))
    return _write_image(image, target, facts.voxel_hash)


def _write_image(image: sitk.Image, target: Path, expected: str) -> str:
    """Write a file and return its SHA-256; raises `OSError` if its voxels, read again, do not have the expected hash.

    It is read again, because ITK does not notice every disk that is full.
    """
    target.parent.mkdir(exist_ok=True)
    try:
        sitk.WriteImage(image, str(target), useCompression=True)
        written = sitk.ReadImage(str(target))
    except RuntimeError as error:
        raise OSError(f"{target.name}: {error}") from None
    if voxel_hash(sitk.GetArrayViewFromImage(written)) != expected:
        raise OSError(f"{target.name} was not written completely; is the disk full?")
    return file_sha256(target)


def _describe_change(source: Path) -> OSError:
    return OSError(f"{source} has changed since it was checked; convert again once nothing writes to it")
