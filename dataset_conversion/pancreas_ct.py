"""NIH Pancreas-CT (Roth et al., MICCAI 2015): abdominal CT with the pancreas, from DICOM or from NIfTI.

Layouts: `PANCREAS_0001/.../*.dcm` at any depth, or `PANCREAS_0001.nii.gz`; labels `label0001.nii.gz`. Images and labels
are paired by number. Labels are never flipped: they are brought onto the image by both geometries, then the Hounsfield
values under them must be soft tissue's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ser_nnunet.dataset_conversion.core.data_classes import LABEL, Description, Options, Table, Volume
from ser_nnunet.dataset_conversion.core.hounsfield import hounsfield_check
from ser_nnunet.dataset_conversion.core.pairing import Found, assemble, choose_channels, find_by_name
from ser_nnunet.dataset_conversion.core.problems import Problem
from ser_nnunet.dataset_conversion.core.source_tree import IMAGE_ENDINGS, Tree, stem

DESCRIPTION = Description(
    name="PancreasCT",
    title="NIH Pancreas-CT: pancreas in portal-venous contrast-enhanced abdominal CT",
    licence="CC BY 3.0",
    citation="Roth et al., DeepOrgan: Multi-level Deep Convolutional Networks for Automated Pancreas Segmentation, "
    "MICCAI 2015; data: https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU",
    reference="https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU",
    channels={"CT": "CT"},
    labels={"background": 0, "pancreas": 1},
    values={0: 0, 1: 1},
    counts={"train": 80},
    notes=("Do not pool with PANORAMA as independent data: it holds these 80 cases.",),
    case_checks=(hounsfield_check,),
)
EXPECTED = "PANCREAS_0001/.../1-001.dcm (or PANCREAS_0001.nii.gz) and label0001.nii.gz"
WITHDRAWN = ("0025", "0070")
"""TCIA withdrew both scans; their labels still ship, and old copies of the data still hold the scans."""
SCAN = re.compile(r"PANCREAS_?(?P<number>\d{4})(?:_0000)?", re.IGNORECASE)
MASK = re.compile(r"label_?(?P<number>\d{4})", re.IGNORECASE)
SLICE_ENDINGS = (".dcm", ".ima", "")


def find(tree: Tree, options: Options) -> Table:
    """Return the table of cases; raises `UserError` if there are none."""
    description = choose_channels(DESCRIPTION, options)
    files, extra = find_by_name(tree, _parse)
    found = [*files, *_series(tree)]
    if not found:
        raise tree.nothing_found(EXPECTED)
    kept = [item for item in found if item[0].case[-4:] not in WITHDRAWN]
    table = assemble(tree, description, kept, extra)
    table.problems += _withdrawn(found)
    return table


def _parse(tree: Tree, path: Path) -> Found | None:
    if match := SCAN.fullmatch(stem(path)):
        return Found(f"PANCREAS_{match['number']}", "CT")
    if match := MASK.fullmatch(stem(path)):
        return Found(f"PANCREAS_{match['number']}", LABEL)
    return None


def _series(tree: Tree) -> Iterator[tuple[Found, Volume]]:
    """One volume per folder `PANCREAS_NNNN` with slices anywhere below it; the series itself is looked for later."""
    folders = {folder for path in tree.files if _is_slice(path) if (folder := _case_folder(path))}
    for folder in sorted(folders):
        yield Found(f"PANCREAS_{folder.name[-4:]}", "CT"), Volume(folder)


def _is_slice(path: Path) -> bool:
    return not path.name.lower().endswith(IMAGE_ENDINGS) and path.suffix.lower() in SLICE_ENDINGS


def _case_folder(path: Path) -> Path | None:
    return next((folder for folder in path.parents if SCAN.fullmatch(folder.name)), None)


def _withdrawn(found: list[tuple[Found, Volume]]) -> Iterator[Problem]:
    for number in WITHDRAWN:
        roles = sorted(item.role for item, _ in found if item.case.endswith(number))
        if roles:
            text = f"{' and '.join(roles)} left out: withdrawn by TCIA, {number} is reported to duplicate another scan"
            yield Problem("withdrawn case", f"PANCREAS_{number}", text, fatal=False)
