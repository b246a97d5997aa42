"""Multi-site prostate MRI (Liu et al., SAML, MICCAI 2020): 116 T2w scans of six sites from three public sources.

Layout: `{RUNMC,BMC,I2CVB,UCL,BIDMC,HK}/CaseNN.nii.gz` or `Site-A..F` in that order, masks `CaseNN_segmentation.nii.gz`,
in BMC `_Segmentation`. Case numbers repeat per site, so the site goes into the case's name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ser_nnunet.dataset_conversion.core.case_checks import Examination
from ser_nnunet.dataset_conversion.core.data_classes import LABEL, Description, Options, Table
from ser_nnunet.dataset_conversion.core.pairing import Found, choose_channels, table_by_name
from ser_nnunet.dataset_conversion.core.problems import Problem
from ser_nnunet.dataset_conversion.core.source_tree import Tree, stem

SITES = ("RUNMC", "BMC", "I2CVB", "UCL", "BIDMC", "HK")


def merged_values(examinations: Sequence[Examination]) -> Iterator[Problem]:
    """Say which label values became 1, and in how many cases of which site."""
    merged: dict[int, Counter[str]] = {}
    for examination in examinations:
        for value in {value for facts in examination.facts for value in facts.counts if value > 1}:
            merged.setdefault(value, Counter())[examination.case.split("_")[0]] += 1
    for value, sites in sorted(merged.items()):
        cases = ", ".join(f"{count} of {site}" for site, count in sorted(sites.items()))
        text = f"value {value} became 1 (prostate) in {sum(sites.values())} cases: {cases}"
        yield Problem("merged values", "", text, fatal=False)


DESCRIPTION = Description(
    name="MultiSiteProstate",
    title="Multi-site prostate MRI (SAML): T2-weighted scans of six sites, whole gland",
    licence="see https://liuquande.github.io/SAML/ and the three sources (NCI-ISBI 2013, I2CVB, PROMISE12)",
    citation="Liu et al., Shape-aware Meta-learning for Generalizing Prostate MRI Segmentation to Unseen Domains, "
    "MICCAI 2020; and the sources: NCI-ISBI 2013, I2CVB, PROMISE12 (https://doi.org/10.1016/j.media.2013.12.002)",
    reference="https://liuquande.github.io/SAML/",
    channels={"T2": "T2"},
    labels={"background": 0, "prostate": 1},
    values={0: 0, 1: 1},
    positive_is_foreground=True,
    counts={"train": 116},
    notes=(
        "Do not pool with PROMISE12 or NCI-ISBI 2013, nor test on them, as independent data: BIDMC, UCL and HK come "
        "out of PROMISE12, RUNMC and BMC out of NCI-ISBI.",
    ),
    cohort_checks=(merged_values,),
)
EXPECTED = "RUNMC/Case00.nii.gz and RUNMC/Case00_segmentation.nii.gz"
NAME = re.compile(r"Case(?P<number>\d+)(?P<mask>_segmentation)?", re.IGNORECASE)
LETTER = re.compile(r"Site[-_ ]?(?P<letter>[A-F])", re.IGNORECASE)


def find(tree: Tree, options: Options) -> Table:
    """Return the table of cases; raises `UserError` if there are none."""
    return table_by_name(tree, choose_channels(DESCRIPTION, options), _parse, EXPECTED)


def _parse(tree: Tree, path: Path) -> Found | None:
    match = NAME.fullmatch(stem(path))
    site = next((site for folder in tree.parts(path) if (site := _site(folder))), "")
    if match is None or not site:
        return None
    return Found(f"{site}_Case{match['number']}", LABEL if match["mask"] else "T2", site=site)


def _site(folder: str) -> str:
    if match := LETTER.fullmatch(folder):
        return SITES["ABCDEF".index(match["letter"].upper())]
    return folder.upper() if folder.upper() in SITES else ""
