"""How many cases are too few: an incomplete download is refused, a sample or a missing test set is noted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ser_nnunet.dataset_conversion import ConversionError, promise12
from ser_nnunet.dataset_conversion.core.cohort_checks import compare_case_counts
from ser_nnunet.dataset_conversion.core.data_classes import DatasetInfo
from tests.dataset_conversion import builders
from tests.dataset_conversion.helpers import convert_sample, make_case


@pytest.mark.parametrize(
    ("train", "test", "allow", "fatal"),
    [
        (93, 22, False, []),
        (92, 22, False, [True]),
        (92, 22, True, [False]),
        (93, 21, False, [True]),
        (93, 0, False, [False]),
        (11, 0, False, [False, False]),
        (12, 0, False, [True, False]),
        (94, 22, False, [False]),
        (0, 22, True, [True, False]),
        (0, 0, True, [True, False, False]),
    ],
)
def test_too_few_cases_are_fatal_or_noted(train: int, test: int, allow: bool, fatal: list[bool]):
    info = DatasetInfo("x", "", "", "", "", {}, {}, {}, {"train": 93, "test": 22})
    cases = [make_case(f"a{i}") for i in range(train)] + [make_case(f"b{i}", split="test") for i in range(test)]
    found = list(compare_case_counts(cases, info, [], allow))
    assert [problem.fatal for problem in found] == fatal


def test_an_incomplete_download_is_refused_and_a_sample_is_not(tmp_path: Path, monkeypatch):
    sample = builders.promise12(tmp_path / "source")
    sample.options = {}
    monkeypatch.setattr(promise12, "INFO", replace(promise12.INFO, official_counts={"train": 10}))
    with pytest.raises(ConversionError, match=r"train: 5 of the official 10 cases(?s:.*)--allow-partial"):
        convert_sample(sample, tmp_path / "raw", 707)
    assert not (tmp_path / "raw").exists()
    for dataset_id, official, partial in ((707, 10, True), (708, 50, False)):
        monkeypatch.setattr(promise12, "INFO", replace(promise12.INFO, official_counts={"train": official}))
        report = convert_sample(sample, tmp_path / "raw", dataset_id, allow_partial=partial)
        assert [note.text for note in report.notes] == [f"train: 5 of the official {official} cases"]
        assert len(list((report.folder / "labelsTr").iterdir())) == 5


def test_excluded_cases_do_not_count_as_missing():
    info = DatasetInfo("x", "", "", "", "", {}, {}, {}, {"train": 20})
    cases = [make_case(f"a{i}") for i in range(20)]
    assert not list(compare_case_counts(cases[1:], info, cases[:1], False))
