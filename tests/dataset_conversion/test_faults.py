"""Every fault in every data set is reported with the right file's name, and nothing is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ser_nnunet.dataset_conversion import ConversionError, convert, promise12

from tests.dataset_conversion.builders import BUILDERS, LABEL
from tests.dataset_conversion.faults import (
    FAULTS,
    VICTIM,
    constant_image,
    empty_mask,
    label_without_image,
    other_origin,
    same_image_twice,
)


def problems_of(toy, raw: Path) -> list:
    with pytest.raises(ConversionError) as caught:
        convert(toy.source, 702, dataset=toy.dataset, raw=raw, processes=1, **toy.options)
    assert not raw.exists(), "something was left behind"
    for problem in caught.value.problems:
        assert problem.text in str(caught.value)
    return [problem for problem in caught.value.problems if problem.fatal]


@pytest.mark.parametrize(
    ("name", "plant"),
    [pytest.param(name, plant, id=f"{name}-{plant.__name__}") for name, faults in FAULTS.items() for plant in faults],
)
def test_fault_is_reported_and_nothing_is_written(name: str, plant, tmp_path: Path):
    toy = BUILDERS[name](tmp_path / "source")
    expected = plant(toy)
    found = problems_of(toy, tmp_path / "raw")
    matching = [problem for problem in found if (problem.kind, problem.case) == (expected.kind, expected.case)]
    assert matching, f"not reported; reported were {found}"
    text = " ".join(problem.text for problem in matching)
    assert all(word in text for word in expected.words), f"{expected.words} not in {text!r}"
    healthy = set(toy.cases) - {expected.case, toy.cases[VICTIM]}
    assert not [problem for problem in found if problem.case in healthy], "a healthy case was blamed"


def test_all_faults_are_reported_at_once(tmp_path: Path):
    toy = BUILDERS["promise12"](tmp_path / "source")
    toy.change("Train_Case00", LABEL, lambda array: array * 0)
    toy.change("Train_Case01", "T2", lambda array: array * 0)
    toy.files["Train_Case02", LABEL].unlink()
    expected = other_origin(toy)
    found = problems_of(toy, tmp_path / "raw")
    assert [(problem.kind, problem.case) for problem in found] == [
        ("constant image", "Train_Case01"),
        ("empty mask", "Train_Case00"),
        ("geometry", expected.case),
        ("image without label", "Train_Case02"),
    ]


@pytest.mark.parametrize("plant", [label_without_image, empty_mask, constant_image, same_image_twice])
def test_a_faulty_case_can_be_left_out(plant, tmp_path: Path, monkeypatch):
    """It does not count as missing then, even where the whole release is asked for."""
    toy = BUILDERS["promise12"](tmp_path / "source")
    toy.options = {}
    monkeypatch.setattr(promise12, "DESCRIPTION", replace(promise12.DESCRIPTION, counts={"train": 5}))
    case = plant(toy).case
    problems_of(toy, tmp_path / "raw")
    report = convert(
        toy.source, 702, dataset=toy.dataset, raw=tmp_path / "raw", processes=1, allow_partial=False, exclude=[case]
    )
    assert case not in {case.name for case in report.cases}
    assert len(list((report.folder / "labelsTr").iterdir())) == 4
