"""PanSegData (Zhang et al., Medical Image Analysis 99:103382, 2025): pancreas in MRI of five centres, T1w or T2w.

Layout: `t1|t2/imagesTr/<SITE>_<NNNN>_0000.nii.gz` and `t1|t2/labelsTr/<SITE>_<NNNN>.nii.gz`. The numbers of T1 and T2
are independent, so they are two data sets and never two channels of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ser_nnunet.dataset_conversion.core.case_checks import Examination
from ser_nnunet.dataset_conversion.core.data_classes import LABEL, Description, Options, Table, Volume
from ser_nnunet.dataset_conversion.core.pairing import Found, assemble, find_by_name
from ser_nnunet.dataset_conversion.core.problems import Problem
from ser_nnunet.dataset_conversion.core.source_tree import Tree, stem

from ser_nnunet.errors import UserError

WRONG_HEADERS = 66
"""T1 labels of the site MCF whose array is right and whose header is wrong."""


def wrong_headers(examinations: Sequence[Examination]) -> Iterator[Problem]:
    """Refuse more replaced headers than are known to be wrong: then something else is amiss."""
    replaced = sum(problem.kind == "wrong header" for each in examinations for problem in each.problems)
    if replaced > WRONG_HEADERS:
        text = f"{replaced} T1 labels of MCF lie elsewhere than their images; {WRONG_HEADERS} are known to"
        yield Problem("geometry", "", text)


DESCRIPTION = Description(
    name="PanSegData",
    title="PanSegData: pancreas in abdominal MRI of five centres",
    licence="CC BY-NC 4.0",
    citation="Zhang et al., Large-scale multi-center CT and MRI segmentation of pancreas with deep learning, Medical "
    "Image Analysis 99:103382 (2025), https://doi.org/10.1016/j.media.2024.103382",
    reference="https://osf.io/kysnj",
    channels={},
    labels={"background": 0, "pancreas": 1},
    values={0: 0, 1: 1},
    cohort_checks=(wrong_headers,),
)
COUNTS = {"T1": 385, "T2": 382}
EXPECTED = "t1/imagesTr/NYU_0001_0000.nii.gz and t1/labelsTr/NYU_0001.nii.gz"
IMAGE = re.compile(r"(?P<case>(?P<site>[A-Za-z]+)_\d+)_0000")
MASK = re.compile(r"(?P<case>(?P<site>[A-Za-z]+)_\d+)")


def find(tree: Tree, options: Options) -> Table:
    """Return the table of cases of one sequence; raises `UserError` if none is chosen or there are no cases."""
    chosen = tuple(channel.upper() for channel in options.channels or ())
    if chosen not in (("T1",), ("T2",)):
        raise UserError(
            "say which: --channels T1 or --channels T2. Their case numbers are independent: T1 and T2 of one number "
            "are different people, so they cannot be channels of one data set."
        )
    sequence = chosen[0]
    found, extra = find_by_name(tree, lambda tree, path: _parse(tree, path, sequence))
    if not found:
        raise tree.nothing_found(EXPECTED.replace("t1", sequence.lower()))
    name = f"{DESCRIPTION.name}{sequence}"
    counts = {"train": COUNTS[sequence]}
    description = replace(DESCRIPTION, name=name, channels={sequence: sequence}, counts=counts)
    volumes = [(item, _borrowing(item, volume, sequence)) for item, volume in found]
    return assemble(tree, description, volumes, [path for path in extra if _sequence(tree, path) in ("", sequence)])


def _sequence(tree: Tree, path: Path) -> str:
    return next((folder.upper() for folder in tree.parts(path) if folder.lower() in ("t1", "t2")), "")


def _parse(tree: Tree, path: Path, sequence: str) -> Found | None:
    folder = path.parent.name.lower()
    is_label = folder.startswith("labels")
    match = (MASK if is_label else IMAGE).fullmatch(stem(path))
    if match is None or _sequence(tree, path) != sequence or not folder.startswith(("images", "labels")):
        return None
    split = "test" if folder.endswith("ts") else "train"
    return Found(match["case"], LABEL if is_label else sequence, split=split, site=match["site"].upper())


def _borrowing(found: Found, volume: Volume, sequence: str) -> Volume:
    """T1 labels of MCF, and no others, take their image's header where their own lies elsewhere."""
    applies = found.role == LABEL and sequence == "T1" and found.site == "MCF"
    return replace(volume, borrows_header=applies)
