"""Traps of the pancreas and prostate sets, one test each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ser_nnunet.dataset_conversion import ConversionError, convert
from ser_nnunet.dataset_conversion.core.case_checks import Examination
from ser_nnunet.dataset_conversion.core.data_classes import Options
from ser_nnunet.dataset_conversion.core.problems import Problem
from ser_nnunet.dataset_conversion.core.source_tree import Tree
from ser_nnunet.dataset_conversion.pansegdata import wrong_headers
from ser_nnunet.dataset_conversion.promise12 import find as find_promise12

from ser_nnunet.errors import UserError
from tests.dataset_conversion.builders import (
    BUILDERS,
    LABEL,
    Toy,
    decathlon,
    msd_pancreas,
    msd_prostate,
    multisite_prostate,
    pancreas_dicom,
    pansegdata,
    promise12,
)
from tests.dataset_conversion.volumes import image_of, mask, save


def converted(toy: Toy, tmp_path: Path, **options):
    raw = tmp_path / "raw"
    return convert(toy.source, 704, dataset=toy.dataset, raw=raw, processes=1, **{**toy.options, **options})


def label_values(folder: Path, case: str) -> dict[int, int]:
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr" / f"{case}.nii.gz")))
    return {int(value): int(count) for value, count in zip(*np.unique(array, return_counts=True), strict=True)}


def test_withdrawn_nih_scans_of_an_old_copy_are_left_out(tmp_path: Path):
    toy = pancreas_dicom(tmp_path / "source")
    old = toy.source / "Pancreas-CT" / "PANCREAS_0025" / "study" / "series"
    save(toy.truth["PANCREAS_0002", "CT"], old)
    report = converted(toy, tmp_path)
    assert "PANCREAS_0025" not in {case.name for case in report.cases}
    assert "0025 is reported to duplicate another scan" in str(report.notes)


def test_wrong_header_of_an_mcf_t1_label_is_replaced_and_named(tmp_path: Path):
    report = converted(pansegdata(tmp_path / "source"), tmp_path)
    named = [note for note in report.notes if note.kind == "wrong header"]
    assert [note.case for note in named] == ["MCF_0002"]
    record = json.loads((report.folder / "conversion.json").read_text())["cases"]["MCF_0002"]["files"][1]
    assert any(change.startswith("wrong header replaced by the image's") for change in record["changes"])


@pytest.mark.parametrize("header_is_right", [True, False])
def test_an_mcf_t1_label_stored_in_another_axis_order_keeps_its_place(tmp_path: Path, header_is_right: bool):
    """A right header is followed; under a wrong one the array is the image's, voxel by voxel."""
    toy = pansegdata(tmp_path / "source")
    truth = toy.truth["MCF_0002", LABEL]
    stored = sitk.DICOMOrient(truth, "RPI")
    if not header_is_right:
        stored = image_of(sitk.GetArrayFromImage(truth), (1, 1, 1), (0, 0, 0), stored.GetDirection())
    save(stored, toy.files["MCF_0002", LABEL])
    report = converted(toy, tmp_path)
    written = sitk.ReadImage(str(report.folder / "labelsTr" / "MCF_0002.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(truth).round())
    assert any(note.kind == "wrong header" for note in report.notes) != header_is_right


def test_wrong_header_of_an_mcf_t2_label_is_refused(tmp_path: Path):
    toy = pansegdata(tmp_path / "source", "T2")
    save(image_of(mask(50), (1, 1, 1), (0, 0, 0)), toy.files["MCF_0002", LABEL])
    with pytest.raises(ConversionError, match=r"MCF_0002: MCF_0002\.nii\.gz against .*tolerance"):
        converted(toy, tmp_path)


def test_more_wrong_headers_than_are_known_are_refused():
    header = Problem("wrong header", "", "", fatal=False)
    cases = [Examination(f"MCF_{number}", problems=[header]) for number in range(67)]
    assert not list(wrong_headers(cases[:66]))
    assert [problem.fatal for problem in wrong_headers(cases)] == [True]


@pytest.mark.parametrize("channels", [None, ["T1", "T2"], ["FLAIR"]])
def test_t1_and_t2_of_pansegdata_are_never_paired(tmp_path: Path, channels: list[str] | None):
    with pytest.raises(UserError, match="--channels T1 or --channels T2"):
        converted(pansegdata(tmp_path / "source"), tmp_path, channels=channels)


def test_near_integers_are_rounded_and_that_is_recorded(tmp_path: Path):
    report = converted(pansegdata(tmp_path / "source"), tmp_path)
    assert label_values(report.folder, "NYU_0001") == {0: 5280 - 61, 1: 61}
    record = json.loads((report.folder / "conversion.json").read_text())["cases"]["NYU_0001"]["files"][1]
    assert "values rounded (by at most 1e-05)" in record["changes"]


def test_case_numbers_of_promise12_get_their_part_as_prefix(tmp_path: Path):
    report = converted(promise12(tmp_path / "source"), tmp_path)
    tests = sorted(path.name for path in (report.folder / "imagesTs").iterdir())
    assert tests == ["Live_Case00_0000.nii.gz", "Test_Case00_0000.nii.gz", "Test_Case01_0000.nii.gz"]
    assert sorted(path.name for path in (report.folder / "labelsTs").iterdir())[0] == "Live_Case00.nii.gz"


def test_old_parts_of_promise12_are_training_data(tmp_path: Path):
    toy = promise12(tmp_path / "source")
    (toy.source / "training_data").rename(toy.source / "TrainingData_Part1")
    assert sum(case.split == "train" for case in converted(toy, tmp_path).cases) == 5


@pytest.mark.parametrize(
    ("folder", "part"),
    [
        ("latest", "Train"),
        ("contest_data", "Train"),
        ("delivery", "Train"),
        ("TrainingData_Part3", "Train"),
        ("test_data", "Test"),
        ("TestData", "Test"),
        ("livechallenge_test_data", "Live"),
        ("LiveTestData", "Live"),
    ],
)
def test_only_whole_words_of_a_folder_say_which_part_of_promise12_it_is(tmp_path: Path, folder: str, part: str):
    source = tmp_path / "source"
    (source / folder).mkdir(parents=True)
    (source / folder / "Case00.mhd").write_bytes(b"")
    assert [case.name for case in find_promise12(Tree(source), Options()).cases] == [f"{part}_Case00"]


def test_a_source_without_training_cases_is_refused_whatever_is_allowed(tmp_path: Path):
    toy = promise12(tmp_path / "source")
    shutil.rmtree(toy.source / "training_data")
    with pytest.raises(ConversionError, match=r"none of 3 cases is for training\n +-> point SOURCE at"):
        converted(toy, tmp_path, allow_partial=True)


def test_zones_of_the_multi_site_set_are_merged_and_that_is_said(tmp_path: Path):
    report = converted(multisite_prostate(tmp_path / "source"), tmp_path)
    assert set(label_values(report.folder, "BMC_Case00")) == {0, 1}
    assert "value 2 became 1 (prostate) in 2 cases: 2 of BMC" in str(report.notes)


def test_letters_and_names_of_the_sites_give_the_same_cases(tmp_path: Path):
    cases = []
    for name in ("multisite_prostate", "multisite_letters"):
        report = converted(BUILDERS[name](tmp_path / name), tmp_path / name)
        cases.append({(case.name, case.site) for case in report.cases})
    assert cases[0] == cases[1] and ("BMC_Case01", "BMC") in cases[0] and len(cases[0]) == 12


@pytest.mark.parametrize(
    ("classes", "labels", "order"),
    [
        ("shipped", {"background": 0, "PZ": 1, "TZ": 2}, None),
        ("merged", {"background": 0, "prostate": 1}, None),
        ("regions", {"background": 0, "prostate": [1, 2], "TZ": 2}, [1, 2]),
    ],
)
def test_classes_of_the_decathlon_prostate(tmp_path: Path, classes: str, labels: dict, order: list[int] | None):
    toy = msd_prostate(tmp_path / "source")
    folder = converted(toy, tmp_path, classes=classes).folder
    content = json.loads((folder / "dataset.json").read_text())
    assert content["labels"] == labels and content.get("regions_class_order") == order
    values = label_values(folder, "prostate_001")
    assert values[1] == (61 if classes == "merged" else 21) and values.get(2) == (None if classes == "merged" else 40)


def test_regions_of_the_decathlon_pancreas_hold_the_cancer(tmp_path: Path):
    folder = converted(msd_pancreas(tmp_path / "source"), tmp_path, classes="regions").folder
    content = json.loads((folder / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "pancreas": [1, 2], "cancer": 2}
    assert content["channel_names"] == {"0": "CT"} and content["release"] == "1.0 04/05/2018"


def test_regions_are_refused_where_classes_do_not_nest(tmp_path: Path):
    toy = decathlon(tmp_path / "source", "Task09_Spleen", ["CT"], ["background", "spleen"])
    with pytest.raises(UserError, match="do not nest"):
        converted(toy, tmp_path, classes="regions")


def test_one_channel_of_a_4d_file_can_be_chosen(tmp_path: Path):
    toy = msd_prostate(tmp_path / "source")
    folder = converted(toy, tmp_path, channels=["ADC"]).folder
    written = sitk.ReadImage(str(folder / "imagesTs" / "prostate_290_0000.nii.gz"))
    truth = toy.truth["prostate_290", "image"][:, :, :, 1]
    assert sitk.GetArrayFromImage(written).tolist() == sitk.GetArrayFromImage(truth).tolist()


def test_headers_within_the_tolerance_become_those_of_the_image(tmp_path: Path):
    toy = pansegdata(tmp_path / "source", "T2")
    label = toy.truth["NYU_0001", LABEL]
    label.SetOrigin([number + 0.01 for number in label.GetOrigin()])
    save(label, toy.files["NYU_0001", LABEL])
    folder = converted(toy, tmp_path).folder
    image, label = (
        sitk.ReadImage(str(folder / name)) for name in ("imagesTr/NYU_0001_0000.nii.gz", "labelsTr/NYU_0001.nii.gz")
    )
    assert (image.GetOrigin(), image.GetSpacing()) == (label.GetOrigin(), label.GetSpacing())
    assert image.GetDirection() == label.GetDirection()
    record = json.loads((folder / "conversion.json").read_text())["cases"]["NYU_0001"]["files"][1]
    assert "header moved by 0.02 mm onto the first channel's" in record["changes"]


def test_a_decathlon_task_without_test_images_converts(tmp_path: Path):
    toy = decathlon(
        tmp_path / "source", "Task04_Hippocampus", ["MRI"], ["background", "Anterior", "Posterior"], tests=0
    )
    report = converted(toy, tmp_path, allow_partial=False)
    assert len(report.cases) == 5 and not report.notes and not (report.folder / "imagesTs").exists()


def test_a_listed_file_that_is_not_there_is_named(tmp_path: Path):
    toy = msd_prostate(tmp_path / "source")
    toy.files["prostate_299", "image"].unlink()
    with pytest.raises(ConversionError, match=r"imagesTs/prostate_299.nii.gz \(in dataset.json\)"):
        converted(toy, tmp_path, allow_partial=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "no valid JSON"), ('{"labels": {"0": "background"}}', "lacks modality")],
)
def test_a_spoilt_dataset_json_is_explained(tmp_path: Path, content: str, message: str):
    toy = msd_prostate(tmp_path / "source")
    (toy.source / "dataset.json").write_text(content)
    with pytest.raises(UserError, match=message):
        converted(toy, tmp_path)
