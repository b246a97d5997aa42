"""MSLesSeg: brain MRI with multiple sclerosis lesions (Guarnera et al., Scientific Data 12:920, 2025).

Layouts: the 2025 release (`train/P1/T1/P1_T1_FLAIR.nii.gz`, `test/P54/P54_FLAIR.nii.gz`) and the competition's of 2024
(`test/test`, `test/test_MASK`). `T1` and `T2` name both a time point and a modality: what stands last in the name is
the modality, so `P54_T1` is the T1-weighted image of a patient without a time point.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ser_nnunet.dataset_conversion.core.data_classes import (
    LABEL,
    Case,
    CaseTable,
    DatasetInfo,
    Options,
    Problem,
    Volume,
)
from ser_nnunet.dataset_conversion.core.pairing import FileIdentity, choose_channels, find_cases
from ser_nnunet.dataset_conversion.core.problems import EXCLUDE
from ser_nnunet.dataset_conversion.core.source_tree import SourceTree, image_stem
from ser_nnunet.errors import UserError
from ser_nnunet.utils.regular_files import read_text

INFO = DatasetInfo(
    name="MSLesSeg",
    title="MSLesSeg: multiple sclerosis lesions in FLAIR, T1w and T2w brain MRI, several time points per patient",
    licence="CC BY 4.0",
    citation="Guarnera et al., MSLesSeg: baseline and benchmarking of a new multiple sclerosis lesion segmentation "
    "dataset, Scientific Data 12:920 (2025), https://doi.org/10.1038/s41597-025-05250-y",
    reference="https://doi.org/10.6084/m9.figshare.27919209",
    channels={"FLAIR": "FLAIR", "T1": "T1", "T2": "T2"},
    labels={"background": 0, "lesion": 1},
    values={0: 0, 1: 1},
    official_counts={"train": 93, "test": 22},
    advice={
        "mask volume": f"the mask is not the one of the release; download it again, {EXCLUDE}",
        "split": f"rename the folder, move the scan, {EXCLUDE}",
    },
)
EXPECTED = "train/P1/T1/P1_T1_FLAIR.nii.gz and train/P1/T1/P1_T1_MASK.nii.gz"
NAME = re.compile(r"(?P<patient>P\d+)(?:_(?P<time>T\d+))?_(?P<role>FLAIR|T1|T2|MASK)", re.IGNORECASE)
MASK_ALONE = re.compile(r"(?P<patient>P\d+)(?:_(?P<time>T\d+))?(?:_MASK)?", re.IGNORECASE)
FIRST_TEST_PATIENT = 54
SIDE = re.compile(r"(?:^|[\W_])(train|test)(?:ing)?(?:[\W_]|$)", re.IGNORECASE)
"""Train or test as a whole word of a folder's name: `train`, `test_MASK`, `testing data`, but not `latest`."""
LARGEST_TABLE = 10_000_000  # bytes; the release's has 10,000
COLUMNS = ("Patient", "Timepoint", "Lesion Volume")


def find(tree: SourceTree, options: Options) -> CaseTable:
    """Return the table of cases; raises `UserError` if there are none."""
    table = find_cases(tree, choose_channels(INFO, options), identify, EXPECTED)
    tables = tree.find_files("clinical_data.csv")
    if tables:
        check = VolumeCheck(read_lesion_volumes(tables[0], tree.shorten(tables[0])))
        table.info = replace(table.info, case_checks=(check,))
    else:
        text = "clinical_data.csv is not there: masks were not compared with it"
        table.problems.append(Problem("mask volume", "", text, fatal=False))
    for case in table.cases:
        if case.split != (split := official_split(case.patient)):
            folder = tree.shorten(next(iter(case.images.values())).path.parent)
            text = f"{folder} lies in a folder for {case.split}, by its number {case.patient} is for {split}"
            table.problems.append(Problem("split", case.name, text))
    return table


def identify(tree: SourceTree, path: Path) -> FileIdentity | None:
    """Identify a file by its name; train or test by the nearest folder named so, else by the patient's number."""
    folders = tree.folder_names(path)
    only_masks = any(re.fullmatch(r"test_masks?", folder, re.IGNORECASE) for folder in folders)
    match = (MASK_ALONE if only_masks else NAME).fullmatch(image_stem(path))
    if match is None:
        return None
    patient, time = match["patient"].upper(), (match["time"] or "").upper()
    role = "MASK" if only_masks else match["role"].upper()
    splits = [side[1].lower() for folder in folders if (side := SIDE.search(folder))]
    return FileIdentity(
        case=f"{patient}_{time}" if time else patient,
        role=LABEL if role == "MASK" else role,
        patient=patient,
        split=splits[0] if splits else official_split(patient),
    )


def official_split(patient: str) -> str:
    """Return `train` or `test` by the release's numbering of patients, `P1` to `P75`."""
    return "test" if int(patient[1:]) >= FIRST_TEST_PATIENT else "train"


@dataclass(frozen=True)
class VolumeCheck:
    """Compares a mask with "Lesion Volume" of clinical_data.csv, which counts the mask's voxels (1 mm3 each)."""

    volumes: dict[str, float]
    """Case -> lesion volume."""

    def __call__(self, case: Case, volume: Volume, image: sitk.Image | None, label: sitk.Image) -> Iterator[Problem]:
        """Yield a problem unless voxels or mm3 of the mask equal the table's number; a note where it has none."""
        expected = self.volumes.get(case.name, self.volumes.get(f"{case.name}_T1"))
        if expected is None:
            text = "clinical_data.csv has no Lesion Volume of it: its mask was not compared"
            yield Problem("mask volume", case.name, text, fatal=False)
            return
        voxels = int(np.count_nonzero(sitk.GetArrayViewFromImage(label)))
        if min(abs(voxels - expected), abs(voxels * float(np.prod(label.GetSpacing())) - expected)) > 0.5:
            text = f"{volume.path.name} has {voxels} lesion voxels, clinical_data.csv has {expected:g}"
            yield Problem("mask volume", case.name, text)


def read_lesion_volumes(file: Path, name: str) -> dict[str, float]:
    """Read case -> lesion volume; the table uses `;`, decimal commas and may end its lines with another `;`.

    Raises `UserError`, in which the file has the given name, for a table that is not as the release's.
    """
    try:
        text = read_text(file, LARGEST_TABLE, "utf-8-sig")
        reader = csv.DictReader(text.splitlines(keepends=True), delimiter=";", restkey="rest")
        rows, absent = list(reader), sorted(set(COLUMNS) - set(reader.fieldnames or ()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{name} is no table in UTF-8 ({error}): download it again") from None
    if absent:
        raise UserError(f"{name} lacks {', '.join(absent)}; expected columns separated by ';'")
    volumes = {}
    for row in rows:
        patient, time, volume = ((row[column] or "").strip() for column in COLUMNS)
        if not volume:
            continue
        try:
            number = float(volume.replace(",", "."))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"{name}: Lesion Volume of {patient} {time} is {volume!r}, expected a number")
        volumes[f"{patient}_{time}".upper()] = number
    return volumes
