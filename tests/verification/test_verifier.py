"""Formats, regions, patients and folds of data sets in nnU-Net's raw format, and what makes `verify` stop."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from ser_nnunet.errors import UserError
from ser_nnunet.verification import Verification, verify
from ser_nnunet.verification.verification_result import format_verification
from tests.dataset_conversion.helpers import hash_tree
from tests.dataset_conversion.volumes import image_of, mask, scalar_image
from tests.verification.samples import FOLDS, TRAIN, change, change_json, change_voxels, write_ct, write_json, write_mri


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))


@pytest.fixture
def mri(tmp_path: Path) -> Path:
    return write_mri(tmp_path / "Dataset700_Sample")


def run(folder: Path | str, **options) -> Verification:
    return verify(folder, processes=1, **options)


def found(result: Verification) -> list[tuple[str, str, str]]:
    return [(finding.severity, finding.kind, finding.case) for finding in result.findings]


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha", ".gipl", ".tif", ".tiff"])
def test_every_format_of_volumes_is_read(ending: str, tmp_path: Path):
    folder = write_mri(tmp_path / "Dataset700_Sample", ending)
    assert found(run("700")) == []
    change(folder / f"labelsTr/P2_a{ending}", lambda label: label[:-1])
    change_voxels(folder / f"imagesTr/P3_a_0001{ending}", lambda array: array * 0)
    assert found(run("700")) == [("error", "constant image", "P3_a"), ("error", "geometry", "P2_a")]


@pytest.mark.parametrize("dtype", ["int64", "bool", "float64"])
def test_tiff_labels_of_numbers_that_itk_does_not_read_are_verified(dtype: str, tmp_path: Path):
    """nnU-Net's Tiff3DIO and NaturalImage2DIO read them by tifffile."""
    folder = write_mri(tmp_path / "Dataset700_Sample", ".tif")
    for case in TRAIN:
        file = folder / f"labelsTr/{case}.tif"
        tifffile.imwrite(file, tifffile.imread(file).astype(dtype))
    assert found(run("700")) == []
    tifffile.imwrite(file, (3 * tifffile.imread(file)).astype(np.int64))
    (folder / "labelsTr/P2_a.tif").write_bytes(b"II*\0" + b"\xff" * 40)
    assert found(run("700")) == [("error", "label value", "P5_a"), ("error", "unreadable", "P2_a")]


def test_axes_that_are_not_perpendicular_are_named_as_the_reason_why_a_file_is_not_verified(mri: Path):
    for name in ("imagesTr/P2_a_0000", "imagesTr/P2_a_0001", "labelsTr/P2_a"):
        image = nibabel.load(mri / f"{name}.nii.gz")
        image.affine[0, 1] += 0.2
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine), mri / f"{name}.nii.gz")
    result = run(mri)
    assert found(result) == 3 * [("error", "sheared axes", "P2_a")]
    shown = format_verification(result)
    assert (
        "its axes are not perpendicular to each other" in shown and "overwrite_image_reader_writer NibabelIO" in shown
    )
    change_json(mri / "dataset.json", overwrite_image_reader_writer="NibabelIO")  # which reads these files
    assert found(run(mri)) == 3 * [("warning", "sheared axes", "P2_a")]


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
def test_pictures_of_three_colours_are_three_channels(ending: str, tmp_path: Path):
    folder = tmp_path / "Dataset700_Sample"
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for seed, case in enumerate(TRAIN):
        label = mask(seed)[3]
        grey = scalar_image(seed, "uint8")[3] // 4 + 150 * label
        colours = sitk.Compose([sitk.GetImageFromArray((grey + shift).astype(np.uint8)) for shift in (0, 3, 7)])
        sitk.WriteImage(colours, str(folder / f"imagesTr/{case}_0000{ending}"))
        sitk.WriteImage(sitk.GetImageFromArray(label), str(folder / f"labelsTr/{case}{ending}"))
    content = {"labels": {"background": 0, "cell": 1}, "numTraining": len(TRAIN), "file_ending": ending}
    write_json(folder / "dataset.json", {**content, "channel_names": {"0": "R", "1": "G", "2": "B"}})
    assert found(run(folder)) == []
    sitk.WriteImage(sitk.GetImageFromArray(mask(2)[3] * 9), str(folder / f"labelsTr/P2_a{ending}"))
    assert found(run(folder)) == [("error", "label value", "P2_a")]


def test_regions_and_the_ignore_label_are_declared_values(mri: Path):
    labels = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
    change_json(mri / "dataset.json", labels=labels, regions_class_order=[1, 2])

    def add_values(array: np.ndarray) -> np.ndarray:
        array[3, 4] *= 2
        array[8, :2] = 3
        return array

    for case in TRAIN[1:]:
        change_voxels(mri / f"labelsTr/{case}.nii.gz", add_values)
    result = run(mri)
    assert found(result) == [("warning", "class absent", "P1_a")] and "no voxel of core" in result.findings[0].text


@pytest.mark.parametrize(
    ("labels", "order", "lost"),
    [
        ({"background": 0, "core": 2, "whole": [1, 2], "ignore": 3}, [1, 2], "1 (whole) as 2 (core, whole). Right"),
        ({"whole": [1, 2], "background": 0, "core": [2]}, [7, 9], "1 (whole) as 7 (no region), 2 (core, whole) as 9"),
        ({"background": 0, "a": [1, 2], "b": [2, 3]}, [1, 2], "3 (b) as 2 (a, b). No order of these regions is right"),
    ],
)
def test_an_order_in_which_nnunet_would_lose_a_region_is_an_error(mri: Path, labels: dict, order: list, lost: str):
    change_json(mri / "dataset.json", labels=labels, regions_class_order=order)
    (error,) = run(mri).errors
    assert error.kind == "dataset.json" and f"would show voxels of {lost}" in error.text


def test_cases_without_annotation_are_counted_and_are_no_empty_masks(tmp_path: Path):
    """Two are ignored everywhere, one has annotated background alone; nothing of it is a finding."""
    folder = write_ct(tmp_path / "Dataset700_Sample")
    change_json(folder / "dataset.json", labels={"background": 0, "lesion": 1, "ignore": 2})
    for case in ("P2_a", "P3_a"):
        change_voxels(folder / f"labelsTr/{case}.nii.gz", lambda array: array * 0 + 2)
    change_voxels(folder / "labelsTr/P4_a.nii.gz", lambda array: np.where(array > 0, 2, 0).astype(np.uint8))
    result = run(folder)
    assert found(result) == [] and result.about["unannotated_cases"] == 2
    assert "6 training and 2 test cases, 2 of them without annotation" in format_verification(result)
    change_voxels(folder / "labelsTr/P5_a.nii.gz", lambda array: array * 0)
    assert found(run(folder)) == [("error", "empty mask", "P5_a")]


@pytest.mark.parametrize("reader", ["NibabelIOWithReorient", "SimpleITKIOWithReorient"])
def test_readers_that_reorder_axes_may_get_them_in_any_order(mri: Path, reader: str):
    """P2's label is stored unlike its images; all of P3 is stored unlike the others, its slices along x."""
    change(mri / "labelsTr/P2_a.nii.gz", lambda label: sitk.DICOMOrient(label, "RAS"))
    for name in ("imagesTr/P3_a_0000", "imagesTr/P3_a_0001", "labelsTr/P3_a"):
        change(mri / f"{name}.nii.gz", lambda image: sitk.DICOMOrient(image, "SPL"))
    assert ("error", "geometry", "P2_a") in found(run(mri)) and ("warning", "orientation", "P3_a") in found(run(mri))
    change_json(mri / "dataset.json", overwrite_image_reader_writer=reader)
    assert found(run(mri)) == []


def test_a_shift_by_four_voxels_of_a_microscope_is_an_error(mri: Path):
    """They are 0.016 mm; of clinical scans, headers may differ by 0.05 mm."""
    for file in mri.glob("*/*.nii.gz"):
        change(file, lambda image: image_of(sitk.GetArrayFromImage(image), (0.004, 0.004, 0.01), (0, 0, 0)))
    assert found(run(mri)) == []
    label = mri / "labelsTr/P2_a.nii.gz"
    change(label, lambda image: image_of(sitk.GetArrayFromImage(image), (0.004, 0.004, 0.01), (0.016, 0, 0)))
    assert found(run(mri)) == [("error", "geometry", "P2_a")]


def test_files_that_dataset_json_lists_are_taken_from_where_they_are(mri: Path, tmp_path: Path):
    shutil.move(mri / "imagesTr", tmp_path / "elsewhere")
    entries = {
        case: {
            "images": [f"../elsewhere/{case}_{channel:04d}.nii.gz" for channel in range(2)],
            "label": f"labelsTr/{case}.nii.gz",
        }
        for case in TRAIN
    }
    change_json(mri / "dataset.json", dataset=entries)
    assert found(run(mri)) == []
    (tmp_path / "elsewhere" / "P2_a_0001.nii.gz").unlink()
    assert found(run(mri)) == [("error", "listed file missing", "P2_a"), ("error", "missing image", "P2_a")]


def test_a_name_in_training_and_test_is_a_warning_and_both_scans_are_checked(mri: Path):
    for channel in ("0000", "0001"):
        (mri / f"imagesTs/P9_a_{channel}.nii.gz").rename(mri / f"imagesTs/P2_a_{channel}.nii.gz")
    assert found(run(mri)) == [("warning", "case name", "P2_a")]
    change_voxels(mri / "imagesTs/P2_a_0000.nii.gz", lambda array: array * 0)
    assert found(run(mri))[0] == ("error", "constant image", "P2_a (test)")


def test_patients_come_from_the_conversion_and_folds_from_nnunet_preprocessed(mri: Path, tmp_path: Path):
    patients = {case: {"patient": "P1" if case == "P5_a" else case} for case in (*TRAIN, "P8_a", "P9_a")}
    patients["P1_a"]["patient"] = "P1"
    write_json(mri / "conversion.json", {"cases": patients})
    result = run(mri)
    assert result.about["patients_by"] == "conversion.json" and result.about["patients"] == 7
    leaks = [("error", "leakage between folds", "P1_a"), ("error", "leakage between folds", "P5_a")]
    assert found(result) == leaks
    used = tmp_path / "preprocessed" / mri.name
    used.mkdir(parents=True)
    write_json(used / "splits_final.json", [{"train": list(TRAIN[1:-1]), "val": ["P1_a", "P5_a"]}])
    assert found(run(mri)) == []


def test_cases_that_the_conversion_does_not_name_are_patients_of_their_own_and_everything_is_verified(mri: Path):
    """Cases that were added after the conversion; a file for --groups has to name all."""
    known = {case: {"patient": case} for case in (*TRAIN[1:], "P8_a")}
    write_json(mri / "conversion.json", {"cases": known | {"P2_a": {"patient": ""}}})
    change_voxels(mri / "labelsTr/P4_a.nii.gz", np.zeros_like)
    result = run(mri)
    assert found(result) == [("error", "empty mask", "P4_a"), ("warning", "patients", "")]
    assert f"no patient for {TRAIN[0]}, P2_a, P9_a (3)" in result.findings[1].text and result.about["patients"] == 8
    write_json(mri / "groups.json", {case: case for case in TRAIN})
    with pytest.raises(UserError, match="no patient for P8_a, P9_a"):
        run(mri, groups=mri / "groups.json")


def test_a_mask_that_two_scans_of_one_patient_share_is_a_warning(mri: Path):
    shutil.copyfile(mri / "labelsTr/P1_a.nii.gz", mri / "labelsTr/P1_b.nii.gz")
    (kept,) = [finding for finding in run(mri).findings if finding.kind == "duplicate label"]
    (shared,) = [finding for finding in run(mri, patients=r"P\d+").findings if finding.kind == "duplicate label"]
    assert (kept.severity, shared.severity) == ("error", "warning") and "of the same patient" in shared.text


def test_folds_that_list_patients_instead_of_cases_are_an_error(mri: Path):
    """A patient's name is no case's, nor does it hide that the folds have no case at all."""
    patients = {case: {"patient": case.split("_")[0]} for case in (*TRAIN, "P8_a", "P9_a")}
    write_json(mri / "conversion.json", {"cases": patients})
    write_json(mri / "splits_final.json", [{"train": ["P1_a", "P1_b", "P2", "P3_a"], "val": ["P1", "P3", "P4_a"]}])
    errors = [finding.text for finding in run(mri).errors]
    assert errors == ["fold 0 of splits_final.json names cases that imagesTr does not have: P1, P2, P3"]


def test_a_case_in_both_sides_of_a_fold_and_a_case_in_no_fold_are_reported(mri: Path):
    write_json(mri / "splits_final.json", [{"train": FOLDS[0]["train"][1:], "val": ["P1_a", "P1_b", "P5_a"]}])
    texts = [finding.text for finding in run(mri).findings]
    assert "fold 0 of splits_final.json has cases in train and in val: P5_a" in texts[0]
    assert "in no fold, neither in train nor in val: P2_a, P3_a" in texts[1]


def test_an_accepted_kind_is_a_warning(mri: Path):
    change_voxels(mri / "labelsTr/P2_a.nii.gz", np.zeros_like)
    assert run(mri).errors
    assert found(run(mri, accept=["empty mask"])) == [("warning", "empty mask", "P2_a")]
    with pytest.raises(UserError, match=r"--accept emptiness: choose among .*empty mask"):
        run(mri, accept=["emptiness"])


def test_nothing_of_the_data_set_is_changed(mri: Path):
    (mri / "labelsTr/P2_a.nii.gz").write_bytes(b"no image")
    before = hash_tree(mri)
    assert found(run(mri)) == [("error", "unreadable", "P2_a")]
    assert hash_tree(mri) == before


@pytest.mark.parametrize(
    ("change_it", "message"),
    [
        (lambda folder: (folder / "dataset.json").unlink(), r"dataset\.json: an nnU-Net v2 dataset\.json .* expected"),
        (lambda folder: change_json(folder / "dataset.json", channel_names=None), "'channel_names'"),
        (lambda folder: change_json(folder / "dataset.json", file_ending=".jpg"), r"none that nnU-Net reads \(\.bmp"),
        (lambda folder: change_json(folder / "dataset.json", file_ending=".mha"), r"no file that ends in \.mha"),
        (lambda folder: shutil.rmtree(folder / "imagesTr"), "has no folder imagesTr"),
        (lambda folder: write_json(folder / "splits_final.json", {"0": []}), r"splits_final\.json: nnU-Net's folds"),
        (lambda folder: change_json(folder / "dataset.json", dataset=["P1_a"]), "'dataset' must be"),
    ],
)
def test_what_is_no_data_set_is_refused_with_the_reason(mri: Path, change_it, message: str):
    change_it(mri)
    with pytest.raises(UserError, match=message):
        run(mri)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patients": "X"}, "it finds no patient in P1_a, P1_b, P2_a, P3_a, P4_a and 3 more"),
        ({"patients": "("}, "no regular expression"),
        ({"patients": "P", "groups": Path("groups.csv")}, "give one of them"),
    ],
)
def test_patients_that_cannot_be_found_are_an_error(mri: Path, options: dict, message: str):
    with pytest.raises(UserError, match=message):
        run(mri, **options)


def test_an_unknown_data_set_is_an_error_that_lists_those_there(mri: Path, monkeypatch):
    with pytest.raises(UserError, match=r"there is no data set 7: .* holds Dataset700_Sample"):
        run("7")
    (mri.parent / "Dataset700_Other").mkdir()
    with pytest.raises(UserError, match="2 data sets have the id 700: Dataset700_Other, Dataset700_Sample"):
        run("700")
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(UserError, match="nnUNet_raw is not set"):
        run("700")
