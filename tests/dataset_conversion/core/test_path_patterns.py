"""Patterns with placeholders: what they match, what they capture, and what is said of malformed ones."""

from __future__ import annotations

import pytest

from ser_nnunet.dataset_conversion.core.path_patterns import PathPattern
from ser_nnunet.errors import UserError


@pytest.mark.parametrize(
    ("pattern", "path", "values"),
    [
        ("patient{patient}/FLAIR.nii.gz", "patient19/FLAIR.nii.gz", {"patient": "19"}),
        ("patient{patient}/FLAIR.nii.gz", "data/v2/patient19/FLAIR.nii.gz", {"patient": "19"}),
        ("patient{patient}/FLAIR.nii.gz", "my_patient19/FLAIR.nii.gz", None),
        ("/patient{patient}/FLAIR.nii.gz", "data/patient19/FLAIR.nii.gz", None),
        ("{patient}/{patient}_T1.nii.gz", "P1/P1_T1.nii.gz", {"patient": "P1"}),
        ("{patient}/{patient}_T1.nii.gz", "P1/P10_T1.nii.gz", None),
        (r"training{patient:\d{2}}_{time:\d+}_pp.nii", "training01_02_pp.nii", {"patient": "01", "time": "02"}),
        (r"training{patient:\d{2}}_{time:\d+}_pp.nii", "training1_02_pp.nii", None),
        ("{patient}/**/FLAIR*.nii.gz", "P1/a/b/FLAIR_v2.nii.gz", {"patient": "P1"}),
        ("**/{patient}/FLAIR.nii.gz", "data/v2/P1/FLAIR.nii.gz", {"patient": "P1"}),
        ("{patient}/**/FLAIR*.nii.gz", "data/P1.nii.gz", None),
        ("{patient}/*/FLAIR.nii.gz", "P1/a/FLAIR.nii.gz", {"patient": "P1"}),
        ("{patient}/*/FLAIR.nii.gz", "P1/FLAIR.nii.gz", None),
        ("{site}/P{patient}.nii", "A+B/P(1).nii", {"site": "A+B", "patient": "(1)"}),
        ("P{patient}?nii.gz", "P1.nii.gz", {"patient": "1"}),
        ("P{patient}.nii.gz", "P1xnii.gz", None),
    ],
)
def test_a_pattern_matches_the_end_of_a_path(pattern: str, path: str, values: dict | None):
    assert PathPattern.parse(pattern, "--channel T1").match(path) == values


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "it is empty"),
        ("{patient/x.nii", "a { is not closed"),
        ("patient}/x.nii", "a } has no { before it"),
        ("{1st}/x.nii", "{1st} is no placeholder"),
        ("{patient:(}/x.nii", "missing )"),
    ],
)
def test_a_malformed_pattern_is_refused_with_the_reason(pattern: str, reason: str):
    with pytest.raises(UserError) as caught:
        PathPattern.parse(pattern, "--label")
    assert str(caught.value).startswith(f"--label {pattern!r}: ") and reason in str(caught.value)


def test_the_nearest_paths_agree_in_most_folders_and_letters():
    paths = ["P1/T1.nii.gz", "P1/flair.nii.gz", "raw/scan.nii.gz", "P2/masks/FLAIR.nii.gz"]
    nearest = PathPattern.parse("P{patient}/FLAIR.nii.gz", "--channel FLAIR").find_nearest(paths)
    assert nearest[0] == "P2/masks/FLAIR.nii.gz" and nearest[1] == "P1/flair.nii.gz"
