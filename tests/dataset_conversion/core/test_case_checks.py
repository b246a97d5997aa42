"""Every fault in every data set is reported with the right file's name, and nothing is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ser_nnunet.dataset_conversion import promise12
from tests.dataset_conversion.builders import BUILDERS, LABEL
from tests.dataset_conversion.every_fault import FAULTS
from tests.dataset_conversion.faults import (
    VICTIM,
    constant_image,
    duplicate_case,
    empty_mask,
    half_label,
    label_without_image,
    missing_channel,
    other_origin,
    other_shape,
    other_volume,
    same_image_twice,
    same_label_twice,
    unknown_value,
    unlabelled_test_image,
)
from tests.dataset_conversion.helpers import convert_sample, find_problems


@pytest.mark.parametrize(
    ("name", "plant"),
    [pytest.param(name, plant, id=f"{name}-{plant.__name__}") for name, faults in FAULTS.items() for plant in faults],
)
def test_fault_is_reported_and_nothing_is_written(name: str, plant, tmp_path: Path):
    sample = BUILDERS[name](tmp_path / "source")
    expected = plant(sample)
    found = find_problems(sample, tmp_path / "raw")
    matching = [problem for problem in found if (problem.kind, problem.case) == (expected.kind, expected.case)]
    assert matching, f"not reported; reported were {found}"
    text = " ".join(problem.text for problem in matching)
    assert all(word in text for word in expected.words), f"{expected.words} not in {text!r}"
    healthy = set(sample.cases) - {expected.case, sample.cases[VICTIM]}
    assert not [problem for problem in found if problem.case in healthy], "a healthy case has a problem"


def test_all_faults_are_reported_at_once(tmp_path: Path):
    sample = BUILDERS["promise12"](tmp_path / "source")
    sample.change("Train_Case00", LABEL, lambda array: array * 0)
    sample.change("Train_Case01", "T2", lambda array: array * 0)
    sample.files["Train_Case02", LABEL].unlink()
    expected = other_origin(sample)
    found = find_problems(sample, tmp_path / "raw")
    assert [(problem.kind, problem.case) for problem in found] == [
        ("constant image", "Train_Case01"),
        ("empty mask", "Train_Case00"),
        ("geometry", expected.case),
        ("image without label", "Train_Case02"),
    ]


def find_kinds(sample, raw: Path) -> set[tuple[str, str]]:
    return {(problem.kind, problem.case) for problem in find_problems(sample, raw)}


@pytest.mark.parametrize("name", ["mslesseg", "pancreas_dicom", "promise12", "msd_prostate"])
def test_a_label_is_examined_even_if_no_image_of_its_case_can_be_read(name: str, tmp_path: Path):
    sample = BUILDERS[name](tmp_path / "source")
    case = sample.cases[VICTIM]
    for role in sample.roles:
        break_image(sample, case, role)
    unknown_value(sample)
    found = find_problems(sample, tmp_path / "raw")
    assert {(problem.kind, problem.case) for problem in found} == {
        ("series" if name == "pancreas_dicom" else "unreadable", case),
        ("label value", case),
    }
    assert "-7 (3 voxels)" in str(found)


def break_image(sample, case: str, role: str) -> None:
    path = sample.files[case, role]
    for file in path.iterdir() if path.is_dir() else [path]:
        file.write_bytes(b"no image")


@pytest.mark.parametrize(
    ("plant", "kind"),
    [(half_label, "non-integer label"), (empty_mask, "empty mask"), (other_volume, "mask volume")],
)
def test_a_label_whose_image_is_missing_is_examined(plant, kind: str, tmp_path: Path):
    sample = BUILDERS["mslesseg"](tmp_path / "source")
    case = plant(sample).case
    for role in sample.roles:
        sample.files[case, role].unlink()
    expected = {("label without image", case), (kind, case)}
    assert expected <= find_kinds(sample, tmp_path / "raw") <= expected | {("mask volume", case)}


def test_a_label_without_image_is_found_again_under_another_name(tmp_path: Path):
    sample = BUILDERS["promise12"](tmp_path / "source")
    same = same_label_twice(sample)
    sample.files[same.case, "T2"].unlink()
    assert find_kinds(sample, tmp_path / "raw") == {("label without image", same.case), (same.kind, same.case)}


def test_a_case_that_lacks_a_channel_is_examined(tmp_path: Path):
    sample = BUILDERS["mslesseg"](tmp_path / "source")
    case = missing_channel(sample).case
    unknown_value(sample)
    sample.change(case, "T2", lambda array: array * 0)
    assert find_kinds(sample, tmp_path / "raw") == {
        (kind, case) for kind in ("missing image", "label value", "constant image")
    }


def test_every_copy_of_a_case_that_is_there_twice_is_examined(tmp_path: Path):
    """The image of one value is the first of two, the label with a foreign value has no second."""
    sample = BUILDERS["mslesseg"](tmp_path / "source")
    case = duplicate_case(sample).case
    unknown_value(sample)
    second = sample.source / "second" / sample.files[case, "FLAIR"].relative_to(sample.source)
    second.write_bytes(b"no image")
    sample.change(case, "FLAIR", lambda array: array * 0)
    found = find_problems(sample, tmp_path / "raw")
    assert {(problem.kind, problem.case) for problem in found} == {
        (kind, case) for kind in ("duplicate case", "unreadable", "constant image", "label value")
    }
    assert next(problem.text for problem in found if problem.kind == "unreadable").startswith("second/")


@pytest.mark.parametrize("role", ["FLAIR", LABEL])
def test_an_uncompressed_copy_is_read_even_if_the_compressed_file_cannot_be(role: str, tmp_path: Path):
    sample = BUILDERS["mslesseg"](tmp_path / "source")
    path = sample.files[sample.cases[VICTIM], role]
    copy = path.with_name(path.name.removesuffix(".gz"))
    for file in (path, copy):
        file.write_bytes(b"no image")
    texts = [problem.text for problem in find_problems(sample, tmp_path / "raw")]
    assert sorted(text.split(": ")[0].split("/")[-1] for text in texts) == [copy.name, path.name]


def test_a_geometry_problem_names_the_file_that_was_compared_with(tmp_path: Path):
    sample = BUILDERS["mslesseg"](tmp_path / "source")
    expected = other_origin(sample)
    first, second = sample.roles[:2]
    break_image(sample, expected.case, first)
    (text,) = [problem.text for problem in find_problems(sample, tmp_path / "raw") if problem.kind == "geometry"]
    assert f"against {sample.files[expected.case, second].name}" in text


@pytest.mark.parametrize("plant", [other_origin, other_shape])
def test_a_label_on_another_grid_is_still_examined(plant, tmp_path: Path):
    sample = BUILDERS["promise12"](tmp_path / "source")
    case = sample.cases[VICTIM]
    sample.truth[case, LABEL] = sample.truth[case, LABEL] * 0
    plant(sample)
    assert find_kinds(sample, tmp_path / "raw") == {("geometry", case), ("empty mask", case)}


@pytest.mark.parametrize("name", ["mslesseg", "mslesseg_2024", "promise12"])
def test_a_test_image_without_label_is_noted_and_converted(name: str, tmp_path: Path):
    sample = BUILDERS[name](tmp_path / "source")
    expected = unlabelled_test_image(sample)
    report = convert_sample(sample, tmp_path / "raw")
    notes = [note.text for note in report.notes if (note.kind, note.case) == (expected.kind, expected.case)]
    assert len(notes) == 1 and expected.words[0] in notes[0]
    assert (report.folder / "imagesTs" / f"{expected.case}_0000.nii.gz").exists()
    assert not (report.folder / "labelsTs" / f"{expected.case}.nii.gz").exists()


@pytest.mark.parametrize("plant", [label_without_image, empty_mask, constant_image, same_image_twice])
def test_a_faulty_case_can_be_left_out(plant, tmp_path: Path, monkeypatch):
    """It does not count as missing then, even where the whole release is asked for."""
    sample = BUILDERS["promise12"](tmp_path / "source")
    sample.options = {}
    monkeypatch.setattr(promise12, "INFO", replace(promise12.INFO, official_counts={"train": 5}))
    case = plant(sample).case
    find_problems(sample, tmp_path / "raw")
    report = convert_sample(sample, tmp_path / "raw", allow_partial=False, exclude=[case])
    assert case not in {case.name for case in report.cases}
    assert len(list((report.folder / "labelsTr").iterdir())) == 4
