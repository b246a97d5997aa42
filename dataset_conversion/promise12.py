"""PROMISE12 (Litjens et al., Medical Image Analysis 2014): prostate in T2w MRI, as MetaImage pairs.

Layout: `training_data/Case00.mhd` + `.raw`, `Case00_segmentation.mhd` + `.raw`; likewise `test_data` and
`livechallenge_test_data`, older copies `TrainingData_Part1..3`. Case numbers restart in every part, so the part goes
into the case's name. nnU-Net doesn't read `.mhd`; spacing and origin are kept.
"""

from __future__ import annotations

import re
from pathlib import Path

from ser_nnunet.dataset_conversion.core.data_classes import LABEL, CaseTable, DatasetInfo, Options
from ser_nnunet.dataset_conversion.core.pairing import FileIdentity, choose_channels, find_cases
from ser_nnunet.dataset_conversion.core.source_tree import SourceTree, image_stem

INFO = DatasetInfo(
    name="PROMISE12",
    title="PROMISE12: prostate in transversal T2-weighted MRI of several centres and vendors",
    licence="see https://zenodo.org/records/8026660",
    citation="Litjens et al., Evaluation of prostate segmentation algorithms for MRI: The PROMISE12 challenge, Medical "
    "Image Analysis (2014), https://doi.org/10.1016/j.media.2013.12.002",
    reference="https://zenodo.org/records/8026660",
    channels={"T2": "T2"},
    labels={"background": 0, "prostate": 1},
    values={0: 0, 1: 1},
    official_counts={"train": 50},
    notes=("Do not pool with the multi-site prostate set as independent data: its BIDMC, UCL and HK come from here.",),
)
EXPECTED = "training_data/Case00.mhd, training_data/Case00.raw and training_data/Case00_segmentation.mhd"
NAME = re.compile(r"Case(?P<number>\d+)(?P<mask>_segmentation)?", re.IGNORECASE)
PARTS = {"Live": r"live(challenge)?(test)?(data)?", "Test": r"test(ing)?(data)?", "Train": r"train(ing)?(data)?"}
"""Prefix of a part's cases -> a whole word of its folder; `livechallenge_test_data` is no `test_data`."""
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
"""Words of a folder's name, as in `training_data`, `TRAINING DATA` and `TrainingData_Part1`."""


def find(tree: SourceTree, options: Options) -> CaseTable:
    """Return the table of cases; raises `UserError` if there are none."""
    return find_cases(tree, choose_channels(INFO, options), identify, EXPECTED)


def identify(tree: SourceTree, path: Path) -> FileIdentity | None:
    """Identify a file by its name; the nearest folder named after a part of the release gives the part, else train."""
    match = NAME.fullmatch(image_stem(path))
    if match is None:
        return None
    folders = [WORD.findall(folder) for folder in tree.folder_names(path)]
    parts = [
        part
        for words in folders
        for part, pattern in PARTS.items()
        if any(re.fullmatch(pattern, word, re.IGNORECASE) for word in words)
    ]
    part = parts[0] if parts else "Train"
    return FileIdentity(
        case=f"{part}_Case{match['number']}",
        role=LABEL if match["mask"] else "T2",
        split="train" if part == "Train" else "test",
    )
