"""PanSegData (Zhang et al., Medical Image Analysis 99:103382, 2025): pancreas in MRI of five centres, T1w or T2w.

Layout: `t1|t2/imagesTr/<SITE>_<NNNN>_0000.nii.gz` and `t1|t2/labelsTr/<SITE>_<NNNN>.nii.gz`. The numbers of T1 and T2
are independent, so they are two data sets and never two channels of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ser_nnunet.dataset_conversion.core.data_classes import LABEL, CaseReport, CaseTable, DatasetInfo, Options, Problem
from ser_nnunet.dataset_conversion.core.pairing import FileIdentity, build_table, identify_files
from ser_nnunet.dataset_conversion.core.source_tree import SourceTree, image_stem
from ser_nnunet.errors import UserError

WRONG_HEADERS = 66
"""T1 labels of the site MCF whose array is right and whose header is wrong."""

ORIENTATION = "LPS"
"""Of the axes of every case: the release mixes orientations, and nnU-Net takes arrays as they are stored."""


def check_wrong_headers(reports: Sequence[CaseReport]) -> Iterator[Problem]:
    """Refuse if more headers were replaced than the release is known to have wrong."""
    replaced = sum(problem.kind == "wrong header" for report in reports for problem in report.problems)
    if replaced > WRONG_HEADERS:
        text = f"{replaced} T1 labels of MCF lie elsewhere than their images; {WRONG_HEADERS} are known to"
        yield Problem("geometry", "", text)


INFO = DatasetInfo(
    name="PanSegData",
    title="PanSegData: pancreas in abdominal MRI of five centres",
    licence="CC BY-NC 4.0",
    citation="Zhang et al., Large-scale multi-center CT and MRI segmentation of pancreas with deep learning, Medical "
    "Image Analysis 99:103382 (2025), https://doi.org/10.1016/j.media.2024.103382",
    reference="https://osf.io/kysnj",
    channels={},
    labels={"background": 0, "pancreas": 1},
    values={0: 0, 1: 1},
    orientation=ORIENTATION,
    cohort_checks=(check_wrong_headers,),
    notes=(
        f"The axes of every case are stored in {ORIENTATION} order, because the release mixes orientations: "
        "bring images to it before prediction, too.",
    ),
)
OFFICIAL_COUNTS = {"T1": 385, "T2": 382}
EXPECTED = "t1/imagesTr/NYU_0001_0000.nii.gz and t1/labelsTr/NYU_0001.nii.gz"
IMAGE = re.compile(r"(?P<case>(?P<site>[A-Za-z]+)_\d+)_0000")
MASK = re.compile(r"(?P<case>(?P<site>[A-Za-z]+)_\d+)")


def find(tree: SourceTree, options: Options) -> CaseTable:
    """Return the table of cases of one sequence; raises `UserError` if none is chosen or there are no cases."""
    chosen = tuple(channel.upper() for channel in options.channels or ())
    if chosen not in (("T1",), ("T2",)):
        raise UserError(
            "choose one sequence: --channels T1 or --channels T2. Their case numbers are independent: T1 and T2 of one "
            "number are different people, so they cannot be channels of one data set."
        )
    sequence = chosen[0]
    volumes, unknown = identify_files(tree, partial(identify, sequence=sequence))
    if not volumes:
        raise tree.no_cases_error(EXPECTED.replace("t1", sequence.lower()))
    info = replace(
        INFO,
        name=f"{INFO.name}{sequence}",
        channels={sequence: sequence},
        official_counts={"train": OFFICIAL_COUNTS[sequence]},
    )
    # T1 labels of MCF, and no others, take their image's header where their own lies elsewhere
    images = {identity.case: volume.path for identity, volume in volumes if identity.role == sequence}
    volumes = [
        (identity, replace(volume, header_of=images.get(identity.case)))
        if (sequence, identity.site, identity.role) == ("T1", "MCF", LABEL)
        else (identity, volume)
        for identity, volume in volumes
    ]
    unused = [path for path in unknown if _find_sequence(tree, path) in ("", sequence)]
    return build_table(tree, info, volumes, unused)


def identify(tree: SourceTree, path: Path, sequence: str) -> FileIdentity | None:
    """Identify a file of one sequence by its name, its own folder and the nearest folder named after a sequence."""
    folder = path.parent.name.lower()
    is_label = folder.startswith("labels")
    match = (MASK if is_label else IMAGE).fullmatch(image_stem(path))
    if match is None or _find_sequence(tree, path) != sequence or not folder.startswith(("images", "labels")):
        return None
    split = "test" if folder.endswith("ts") else "train"
    return FileIdentity(match["case"], LABEL if is_label else sequence, split=split, site=match["site"].upper())


def _find_sequence(tree: SourceTree, path: Path) -> str:
    return next((folder.upper() for folder in tree.folder_names(path) if folder.lower() in ("t1", "t2")), "")
