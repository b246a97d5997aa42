"""Decathlon tasks: choices of classes, channels of 4D files, faults of dataset.json, and two real tasks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ser_nnunet.dataset_conversion import ConversionError, convert
from ser_nnunet.errors import UserError
from tests.dataset_conversion.builders import decathlon, msd_pancreas, msd_prostate
from tests.dataset_conversion.helpers import convert_sample, count_label_values
from tests.dataset_conversion.volumes import image_of, save


@pytest.mark.parametrize(
    ("classes", "labels", "order"),
    [
        ("shipped", {"background": 0, "PZ": 1, "TZ": 2}, None),
        ("merged", {"background": 0, "prostate": 1}, None),
        ("regions", {"background": 0, "prostate": [1, 2], "TZ": 2}, [1, 2]),
    ],
)
def test_classes_of_the_decathlon_prostate(tmp_path: Path, classes: str, labels: dict, order: list[int] | None):
    sample = msd_prostate(tmp_path / "source")
    folder = convert_sample(sample, tmp_path / "raw", classes=classes).folder
    content = json.loads((folder / "dataset.json").read_text())
    assert content["labels"] == labels and content.get("regions_class_order") == order
    values = count_label_values(folder, "prostate_001")
    assert values[1] == (61 if classes == "merged" else 21) and values.get(2) == (None if classes == "merged" else 40)


def test_regions_of_the_decathlon_pancreas_hold_the_cancer(tmp_path: Path):
    folder = convert_sample(msd_pancreas(tmp_path / "source"), tmp_path / "raw", classes="regions").folder
    content = json.loads((folder / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "pancreas": [1, 2], "cancer": 2}
    assert content["channel_names"] == {"0": "CT"} and content["release"] == "1.0 04/05/2018"


def test_regions_are_refused_where_classes_do_not_nest(tmp_path: Path):
    sample = decathlon(tmp_path / "source", "Task09_Spleen", ["CT"], ["background", "spleen"])
    with pytest.raises(UserError, match="do not nest"):
        convert_sample(sample, tmp_path / "raw", classes="regions")


def test_one_channel_of_a_4d_file_can_be_chosen(tmp_path: Path):
    sample = msd_prostate(tmp_path / "source")
    folder = convert_sample(sample, tmp_path / "raw", channels=["ADC"]).folder
    written = sitk.ReadImage(str(folder / "imagesTs" / "prostate_290_0000.nii.gz"))
    truth = sample.truth["prostate_290", "image"][:, :, :, 1]
    assert sitk.GetArrayFromImage(written).tolist() == sitk.GetArrayFromImage(truth).tolist()


def test_a_decathlon_task_without_test_images_converts(tmp_path: Path):
    sample = decathlon(
        tmp_path / "source", "Task04_Hippocampus", ["MRI"], ["background", "Anterior", "Posterior"], tests=0
    )
    report = convert_sample(sample, tmp_path / "raw", allow_partial=False)
    assert len(report.cases) == 5 and not report.notes and not (report.folder / "imagesTs").exists()


def test_a_missing_folder_of_images_is_named(tmp_path: Path):
    sample = msd_prostate(tmp_path / "source")
    shutil.rmtree(sample.source / "imagesTr")
    with pytest.raises(UserError, match=r"dataset\.json, but no folder imagesTr beside it"):
        convert_sample(sample, tmp_path / "raw")


def test_a_listed_file_that_is_not_there_is_named(tmp_path: Path):
    sample = msd_prostate(tmp_path / "source")
    sample.files["prostate_299", "image"].unlink()
    with pytest.raises(ConversionError, match=r"imagesTs/prostate_299.nii.gz is in dataset.json and not in its folder"):
        convert_sample(sample, tmp_path / "raw", allow_partial=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "no valid JSON"), ('{"labels": {"0": "background"}}', r"modality: Field required")],
)
def test_an_invalid_dataset_json_is_explained(tmp_path: Path, content: str, message: str):
    sample = msd_prostate(tmp_path / "source")
    (sample.source / "dataset.json").write_text(content)
    with pytest.raises(UserError, match=message):
        convert_sample(sample, tmp_path / "raw")


@pytest.mark.data
@pytest.mark.parametrize(
    ("entry", "value", "problem"),
    [
        ("numTraining", "many", r"numTraining: .*integer"),
        ("numTest", -1, "numTest: .*greater than or equal to 0"),
        ("training", None, "training: .*list, found None"),
        ("labels", {"zero": "background", "1": "a"}, r"labels\.zero"),
        ("labels", {"0": "background", "1.5": "a"}, r"labels\.1\.5"),
        ("labels", {"0": "background", "-1": "a"}, r"labels\.-1"),
        ("labels", {"0": "background", "256": "a"}, "values of 0 to 255 expected, found 256"),
        ("labels", {"0": "background", "1": "a", "2": "a"}, "one value per class expected, a has several"),
        ("modality", {"one": "MRI"}, r"modality\.one"),
        ("modality", {str(index): "MRI" for index in range(100_000)}, "at most 100 items"),
        ("modality", [], "modality: .*dictionary"),
        ("name", ["Prostate"], "name: .*string, found a list of 1"),
        (None, [], "the file: .*dictionary"),
        (None, None, "the file: "),
    ],
)
def test_a_dataset_json_of_another_shape_is_refused_with_the_entry(tmp_path: Path, entry, value, problem: str):
    sample = msd_prostate(tmp_path / "source")
    file = sample.source / "dataset.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, entry: value} if entry else value))
    with pytest.raises(UserError, match=f"(?s)dataset.json: the Decathlon's .*{problem}") as refused:
        convert_sample(sample, tmp_path / "raw")
    assert len(str(refused.value)) < 3000 and not (tmp_path / "raw").exists()


def test_a_dataset_json_that_is_nested_10000_deep_is_refused(tmp_path: Path):
    sample = msd_prostate(tmp_path / "source")
    (sample.source / "dataset.json").write_text("[" * 10_000 + "]" * 10_000)
    with pytest.raises(UserError, match="expected"):
        convert_sample(sample, tmp_path / "raw")


def test_real_hippocampus_is_complete(real_data: Path, tmp_path: Path):
    report = convert(real_data / "hippocampus", 804, dataset="msd", raw=tmp_path, processes=1)
    assert len(report.cases) == 180 and not report.notes
    copied = report.folder / "imagesTr" / "hippocampus_004_0000.nii.gz"
    assert copied.read_bytes() == (real_data / "hippocampus/imagesTr/hippocampus_004.nii.gz").read_bytes()


@pytest.mark.data
def test_real_prostate_labels_and_geometries(real_data: Path, tmp_path: Path):
    source = build_prostate_task(real_data / "msd_prostate", tmp_path / "Task05_Prostate")
    report = convert(source, 805, dataset="msd", classes="regions", raw=tmp_path / "raw", processes=1)
    assert len(report.cases) == len(list((report.folder / "labelsTr").iterdir())) == 32
    absent = {note.case for note in report.notes if note.kind == "class absent"}
    assert absent == {"prostate_18", "prostate_32"}
    for path in sorted((report.folder / "labelsTr").iterdir()):
        label, original = sitk.ReadImage(str(path)), sitk.ReadImage(str(source / "labelsTr" / path.name))
        assert np.array_equal(sitk.GetArrayViewFromImage(label), sitk.GetArrayViewFromImage(original))
        for channel in (0, 1):
            name = path.name.replace(".nii.gz", f"_{channel:04d}.nii.gz")
            image = sitk.ReadImage(str(report.folder / "imagesTr" / name))
            for part in ("GetOrigin", "GetSpacing", "GetDirection"):
                assert np.allclose(getattr(image, part)(), getattr(label, part)()), "nnU-Net would warn"
                assert np.allclose(getattr(image, part)(), getattr(original, part)(), atol=1e-4)


def build_prostate_task(real: Path, home: Path) -> Path:
    """Task05 with its 32 real labels and image geometries, and invented intensities that pack quickly."""
    home.mkdir()
    (home / "labelsTr").mkdir()
    shutil.copyfile(real / "dataset.json", home / "dataset.json")
    geometries = json.loads((real / "image_geometry_from_nnunet_v1.json").read_text())
    for case, geometry in geometries.items():
        shutil.copyfile(real / "labelsTr" / f"{case}.nii.gz", home / "labelsTr" / f"{case}.nii.gz")
        size = geometry["image_size_zyx"]
        ramps = [100 * int(case[-2:]) + 50 * channel + np.indices(size, np.int16).sum(0) for channel in range(2)]
        parts = (geometry["image_spacing_xyz"], geometry["image_origin"], geometry["image_direction"])
        save(image_of(np.stack(ramps).astype(np.int16), *parts), home / "imagesTr" / f"{case}.nii.gz")
    return home
