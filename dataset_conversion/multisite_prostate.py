"""Multi-site prostate MRI (Liu et al., SAML, MICCAI 2020): 116 T2w scans of six sites from three public sources.

Layout: `{RUNMC,BMC,I2CVB,UCL,BIDMC,HK}/CaseNN.nii.gz` or `Site-A..F` in that order, masks `CaseNN_segmentation.nii.gz`,
in BMC `_Segmentation`. Case numbers repeat per site, so the site goes into the case's name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ser_nnunet.dataset_conversion.core.data_classes import LABEL, CaseReport, CaseTable, DatasetInfo, Options, Problem
from ser_nnunet.dataset_conversion.core.pairing import FileIdentity, choose_channels, find_cases
from ser_nnunet.dataset_conversion.core.source_tree import SourceTree, image_stem

SITES = ("RUNMC", "BMC", "I2CVB", "UCL", "BIDMC", "HK")


def report_merged_values(reports: Sequence[CaseReport]) -> Iterator[Problem]:
    """Note which label values became 1, and in how many cases of which site."""
    merged: dict[int, Counter[str]] = {}
    for report in reports:
        for value in {value for facts in report.facts for value in facts.value_counts if value > 1}:
            merged.setdefault(value, Counter())[report.case.split("_")[0]] += 1
    for value, sites in sorted(merged.items()):
        cases = ", ".join(f"{count} of {site}" for site, count in sorted(sites.items()))
        text = f"value {value} became 1 (prostate) in {sum(sites.values())} cases: {cases}"
        yield Problem("merged values", "", text, fatal=False)


INFO = DatasetInfo(
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
    official_counts={"train": 116},
    notes=(
        "Do not pool with PROMISE12 or NCI-ISBI 2013, nor test on them, as independent data: BIDMC, UCL and HK come "
        "out of PROMISE12, RUNMC and BMC out of NCI-ISBI.",
    ),
    cohort_checks=(report_merged_values,),
)
EXPECTED = "RUNMC/Case00.nii.gz and RUNMC/Case00_segmentation.nii.gz"
NAME = re.compile(r"Case(?P<number>\d+)(?P<mask>_segmentation)?", re.IGNORECASE)
LETTER = re.compile(r"Site[-_ ]?(?P<letter>[A-F])", re.IGNORECASE)


def find(tree: SourceTree, options: Options) -> CaseTable:
    """Return the table of cases; raises `UserError` if there are none."""
    return find_cases(tree, choose_channels(INFO, options), identify, EXPECTED)


def identify(tree: SourceTree, path: Path) -> FileIdentity | None:
    """Identify a file by its name and the nearest folder that is named after a site."""
    match = NAME.fullmatch(image_stem(path))
    for folder in tree.folder_names(path) if match else ():
        letter = LETTER.fullmatch(folder)
        site = SITES["ABCDEF".index(letter["letter"].upper())] if letter else folder.upper()
        if match and site in SITES:
            return FileIdentity(f"{site}_Case{match['number']}", LABEL if match["mask"] else "T2", site=site)
    return None
