"""NIH Pancreas-CT (Roth et al., MICCAI 2015): abdominal CT with the pancreas, from DICOM or from NIfTI.

Layouts: `PANCREAS_0001/.../*.dcm` at any depth, or `PANCREAS_0001.nii.gz`; labels `label0001.nii.gz`. Images and labels
are paired by number. Labels are never flipped: they are brought onto the image by both geometries, then the Hounsfield
values inside them must be those of soft tissue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ser_nnunet.dataset_conversion.core.data_classes import LABEL, CaseTable, DatasetInfo, Options, Problem, Volume
from ser_nnunet.dataset_conversion.core.hounsfield import check_hounsfield_values
from ser_nnunet.dataset_conversion.core.pairing import (
    FileIdentity,
    IdentifiedVolume,
    build_table,
    choose_channels,
    identify_files,
)
from ser_nnunet.dataset_conversion.core.source_tree import IMAGE_ENDINGS, SourceTree, image_stem

INFO = DatasetInfo(
    name="PancreasCT",
    title="NIH Pancreas-CT: pancreas in portal-venous contrast-enhanced abdominal CT",
    licence="CC BY 3.0",
    citation="Roth et al., DeepOrgan: Multi-level Deep Convolutional Networks for Automated Pancreas Segmentation, "
    "MICCAI 2015; data: https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU",
    reference="https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU",
    channels={"CT": "CT"},
    labels={"background": 0, "pancreas": 1},
    values={0: 0, 1: 1},
    official_counts={"train": 80},
    notes=("Do not pool with PANORAMA as independent data: it holds these 80 cases.",),
    case_checks=(check_hounsfield_values,),
)
EXPECTED = "PANCREAS_0001/.../1-001.dcm (or PANCREAS_0001.nii.gz) and label0001.nii.gz"
WITHDRAWN = ("0025", "0070")
"""TCIA withdrew both scans; their labels still ship, and old copies of the data still hold the scans."""
SCAN = re.compile(r"PANCREAS_?(?P<number>\d{4})(?:_0000)?", re.IGNORECASE)
MASK = re.compile(r"label_?(?P<number>\d{4})", re.IGNORECASE)
SLICE_ENDINGS = (".dcm", ".ima", "")


def find(tree: SourceTree, options: Options) -> CaseTable:
    """Return the table of cases; raises `UserError` if there are none."""
    info = choose_channels(INFO, options)
    volumes, unused = identify_files(tree, identify)
    volumes += find_series(tree)
    if not volumes:
        raise tree.no_cases_error(EXPECTED)
    table = build_table(tree, info, [item for item in volumes if item[0].case[-4:] not in WITHDRAWN], unused)
    for number in WITHDRAWN:
        if roles := sorted(identity.role for identity, _ in volumes if identity.case.endswith(number)):
            text = f"{' and '.join(roles)} left out: withdrawn by TCIA, {number} is reported to duplicate another scan"
            table.problems.append(Problem("withdrawn case", f"PANCREAS_{number}", text, fatal=False))
    return table


def identify(tree: SourceTree, path: Path) -> FileIdentity | None:
    """Identify a NIfTI image or a label by the number in its name."""
    stem = image_stem(path)
    match = SCAN.fullmatch(stem) or MASK.fullmatch(stem)
    if match is None:
        return None
    return FileIdentity(f"PANCREAS_{match['number']}", LABEL if match.re is MASK else "CT")


def find_series(tree: SourceTree) -> Iterator[IdentifiedVolume]:
    """Yield a volume per folder `PANCREAS_NNNN` with slices anywhere below it.

    The series is chosen when the folder is read.
    """
    folders: dict[Path, str] = {}
    for path in tree.files:
        if path.name.lower().endswith(IMAGE_ENDINGS) or path.suffix.lower() not in SLICE_ENDINGS:
            continue
        for folder in path.parents:
            if match := SCAN.fullmatch(folder.name):
                folders[folder] = match["number"]
                break
    for folder, number in sorted(folders.items()):
        yield FileIdentity(f"PANCREAS_{number}", "CT"), Volume(folder)
