"""MSLesSeg: brain MRI with multiple sclerosis lesions (Guarnera et al., Scientific Data 12:920, 2025).

Layouts: the 2025 release (`train/P1/T1/P1_T1_FLAIR.nii.gz`, `test/P54/P54_FLAIR.nii.gz`) and the competition's of 2024
(`test/test`, `test/test_MASK`). `T1` and `T2` name both a time point and a modality: what stands last in the name is
the modality, so `P54_T1` is the T1-weighted image of a patient without a time point.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from ser_nnunet.dataset_conversion.core.data_classes import LABEL, Case, Description, Options, Table, Volume
from ser_nnunet.dataset_conversion.core.pairing import Found, choose_channels, table_by_name
from ser_nnunet.dataset_conversion.core.problems import Problem
from ser_nnunet.dataset_conversion.core.source_tree import Tree, stem

from ser_nnunet.errors import UserError

DESCRIPTION = Description(
    name="MSLesSeg",
    title="MSLesSeg: multiple sclerosis lesions in FLAIR, T1w and T2w brain MRI, several time points per patient",
    licence="CC BY 4.0",
    citation="Guarnera et al., MSLesSeg: baseline and benchmarking of a new multiple sclerosis lesion segmentation "
    "dataset, Scientific Data 12:920 (2025), https://doi.org/10.1038/s41597-025-05250-y",
    reference="https://doi.org/10.6084/m9.figshare.27919209",
    channels={"FLAIR": "FLAIR", "T1": "T1", "T2": "T2"},
    labels={"background": 0, "lesion": 1},
    values={0: 0, 1: 1},
    counts={"train": 93, "test": 22},
)
EXPECTED = "train/P1/T1/P1_T1_FLAIR.nii.gz and train/P1/T1/P1_T1_MASK.nii.gz"
NAME = re.compile(r"(?P<patient>P\d+)(?:_(?P<time>T\d+))?_(?P<role>FLAIR|T1|T2|MASK)", re.IGNORECASE)
MASK_ALONE = re.compile(r"(?P<patient>P\d+)(?:_(?P<time>T\d+))?(?:_MASK)?", re.IGNORECASE)
FIRST_TEST_PATIENT = 54
SIDE = re.compile(r"(?:^|[\W_])(train|test)(?:ing)?(?:[\W_]|$)", re.IGNORECASE)
"""The side that a folder's name says in a whole word: `train`, `test_MASK`, `testing data`, but not `latest`."""
COLUMNS = ("Patient", "Timepoint", "Lesion Volume")


def find(tree: Tree, options: Options) -> Table:
    """Return the table of cases; raises `UserError` if there are none."""
    table = table_by_name(tree, choose_channels(DESCRIPTION, options), _parse, EXPECTED)
    volumes, problems = _clinical_volumes(tree)
    table.description = replace(table.description, case_checks=(VolumeCheck(volumes),))
    table.problems += [*problems, *_other_side(tree, table.cases)]
    return table


def _parse(tree: Tree, path: Path) -> Found | None:
    folders = tree.parts(path)
    only_masks = any(re.fullmatch(r"test_masks?", folder, re.IGNORECASE) for folder in folders)
    match = (MASK_ALONE if only_masks else NAME).fullmatch(stem(path))
    if match is None:
        return None
    patient, time = match["patient"].upper(), (match["time"] or "").upper()
    role = "MASK" if only_masks else match["role"].upper()
    return Found(
        case=f"{patient}_{time}" if time else patient,
        role=LABEL if role == "MASK" else role,
        patient=patient,
        split=_split(folders, patient),
    )


def _split(folders: list[str], patient: str) -> str:
    """Train or test by the nearest folder that says so, else by the release's numbering."""
    for folder in folders:
        if match := SIDE.search(folder):
            return match[1].lower()
    return _numbered(patient)


def _numbered(patient: str) -> str:
    return "test" if int(patient[1:]) >= FIRST_TEST_PATIENT else "train"


def _other_side(tree: Tree, cases: Iterable[Case]) -> Iterator[Problem]:
    """Cases whose folder says train where the release's numbering says test, or the reverse."""
    for case in cases:
        if case.split != (side := _numbered(case.patient)):
            folder = tree.short(next(iter(case.images.values())).path.parent)
            text = f"{folder} lies in a folder for {case.split}, by its number {case.patient} is for {side}"
            yield Problem("train or test", case.name, text)


@dataclass(frozen=True)
class VolumeCheck:
    """Compares a mask with "Lesion Volume" of clinical_data.csv, which counts the mask's voxels (1 mm3 each)."""

    volumes: dict[str, float] | None
    """Case -> lesion volume; None where there is no table, which is said once."""

    def __call__(self, case: Case, volume: Volume, image: sitk.Image | None, label: sitk.Image) -> Iterator[Problem]:
        """Yield a problem unless voxels or mm3 of the mask equal the table's number; a note where it has none."""
        if self.volumes is None:
            return
        expected = self.volumes.get(case.name, self.volumes.get(f"{case.name}_T1"))
        if expected is None:
            text = "clinical_data.csv has no Lesion Volume of it: its mask was not compared"
            yield Problem("mask volume", case.name, text, fatal=False)
            return
        voxels = int(np.count_nonzero(sitk.GetArrayViewFromImage(label)))
        if min(abs(voxels - expected), abs(voxels * float(np.prod(label.GetSpacing())) - expected)) > 0.5:
            text = f"{volume.path.name} has {voxels} lesion voxels, clinical_data.csv says {expected:g}"
            yield Problem("mask volume", case.name, text)


def _clinical_volumes(tree: Tree) -> tuple[dict[str, float] | None, list[Problem]]:
    """Read case -> lesion volume; the table uses `;`, decimal commas and may end its lines with another `;`."""
    tables = tree.named("clinical_data.csv")
    if not tables:
        note = Problem(
            "mask volume", "", "clinical_data.csv is not there: masks were not compared with it", fatal=False
        )
        return None, [note]
    try:
        with tables[0].open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter=";", restkey="rest")
            rows, absent = list(reader), sorted(set(COLUMNS) - set(reader.fieldnames or ()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{tree.short(tables[0])} is no table in UTF-8 ({error}): get the file again") from None
    if absent:
        raise UserError(f"{tree.short(tables[0])} lacks {', '.join(absent)}; expected columns separated by ';'")
    return _volumes(tree.short(tables[0]), rows), []


def _volumes(file: str, rows: list[dict[str, str]]) -> dict[str, float]:
    volumes = {}
    for row in rows:
        patient, time, volume = ((row[column] or "").strip() for column in COLUMNS)
        if not volume:
            continue
        try:
            volumes[f"{patient}_{time}".upper()] = float(volume.replace(",", "."))
        except ValueError:
            raise UserError(f"{file}: Lesion Volume of {patient} {time} is {volume!r}, expected a number") from None
    return volumes
