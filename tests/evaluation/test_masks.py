"""Voxels as nnU-Net reads them: label values, truncated files, 2D files, files without a spacing in their header."""

import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation import Settings, evaluate
from tests.evaluation.cohort import FAST, OVERLAP, random_label_map, write_cohort


def test_label_values_outside_dataset_json_are_refused(tmp_path):
    array = random_label_map(0)
    strange, broken = array.copy(), array.astype(np.float32)
    strange[0, 0, 0], broken[0, 0, 0] = 7, 0.5
    folder = write_cohort(tmp_path, dict.fromkeys("ab", array), {"a": strange, "b": broken})
    with pytest.raises(UserError) as raised:
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)
    assert "a.nii.gz holds label 7; dataset.json knows 0, 1, 2" in str(raised.value)
    assert "b.nii.gz holds values that are no labels: 0.5" in str(raised.value)


@pytest.mark.parametrize("broken", [["labelsTr"], ["labelsTr", "pred0"]])
def test_truncated_files_are_named(tmp_path, broken):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array}, {"a": array}, file_ending=".nii")
    for place in broken:
        file = folder / place / "a.nii"
        file.write_bytes(file.read_bytes()[:400])  # the header is whole
    with pytest.raises(UserError) as raised:
        evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)
    assert all(str(folder / place / "a.nii") in str(raised.value) for place in broken)


@pytest.mark.parametrize("place", ["labelsTr", "pred0"])
@pytest.mark.parametrize("damage", ["cut off", "flipped bit"])
def test_damaged_gzip_files_are_refused_and_not_filled_with_zeros(tmp_path, place, damage):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array}, {"a": array})
    file = folder / place / "a.nii.gz"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content if damage == "flipped bit" else file.read_bytes()[:-8])
    with pytest.raises(UserError, match=rf"{place}/a\.nii\.gz cannot be read \(its compressed data is"):
        evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("file_ending", [".nii.gz", ".nii"])
def test_nan_and_inf_in_a_mask_are_refused_and_not_read_as_background(tmp_path, value, file_ending):
    array = random_label_map(0)
    damaged = array.astype(np.float32)
    damaged[0, 0, :3] = value
    folder = write_cohort(tmp_path, {"a": array}, {"a": damaged}, file_ending=file_ending)
    with pytest.raises(UserError, match=r"3 voxels are NaN or Inf"):
        evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)


def test_an_unreadable_file_is_named(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array}, {"a": array})
    (folder / "pred0" / "a.nii.gz").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a\.nii\.gz cannot be read"):
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)


def test_two_dimensional_files_are_measured_in_two_dimensions(tmp_path):
    reference, prediction = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    reference[5:10, 5:10] = 1
    prediction[5:10, 8:13] = 1
    prediction[15, 25] = 1
    labels = {"background": 0, "cell": 1}
    folder = write_cohort(
        tmp_path, {"a": reference}, {"a": prediction}, labels=labels, spacing=(0.5, 0.5), file_ending=".nii.gz"
    )
    settings = Settings(bootstrap=100, lesion_classes="all")
    result = evaluate(folder / "labelsTr", folder / "pred0", settings=settings, **FAST)
    assert result.value("reference_ml", "a", "cell") == pytest.approx(25 * 0.25 / 1000)  # counts as 1 mm thick
    assert result.value("lesions_false", "a", "cell") == 1
    # From the single pixel at (15, 25) to the square's corner at (9, 9).
    assert result.value("HD_mm", "a", "cell") == pytest.approx(0.5 * np.hypot(6, 16))


def write_flat_cohort(folder, file_ending, reference, prediction, **saving):
    """A cohort of one case in a format without millimetres; `saving` goes to the reference's writer."""
    for place, array, options in (("labelsTr", reference, saving), ("pred0", prediction, {})):
        (folder / place).mkdir()
        Image.fromarray(array).save(folder / place / f"a{file_ending}", **options)
    content = {"channel_names": {"0": "RGB"}, "labels": {"background": 0, "cell": 1}, "file_ending": file_ending}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("file_ending", [".png", ".bmp", ".tif"])
def test_natural_images_are_measured_in_pixels_whatever_their_print_resolution(tmp_path, file_ending):
    reference, prediction = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    reference[5:10, 5:10] = 1
    prediction[5:10, 8:13] = 1
    folder = write_flat_cohort(tmp_path, file_ending, reference, prediction, dpi=(72, 72))
    result = evaluate(folder / "labelsTr", folder / "pred0", settings=Settings(bootstrap=100), **FAST)
    assert result.value("reference_ml", "a", "cell") == pytest.approx(25 / 1000)  # a pixel counts as 1 mm x 1 mm x 1 mm
    assert result.value("HD_mm", "a", "cell") == 3


def test_natural_images_of_different_sizes_are_refused(tmp_path):
    folder = write_flat_cohort(tmp_path, ".tif", np.zeros((20, 30), np.uint8), np.zeros((20, 31), np.uint8))
    with pytest.raises(UserError, match=r"a\.tif has shape \(31, 20\), expected \(30, 20\)"):
        evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)


def write_tiff_cohort(folder, reference, prediction, spacings=([2.5, 1, 1], [2.5, 1, 1])):
    """A cohort of one case, with the spacings (z, y, x) of its files in JSON files beside them."""
    tifffile = pytest.importorskip("tifffile")
    for place, array, spacing in zip(("labelsTr", "pred0"), (reference, prediction), spacings, strict=True):
        (folder / place).mkdir(parents=True)
        tifffile.imwrite(folder / place / "a.tif", array)
        (folder / place / "a.json").write_text(json.dumps({"spacing": spacing}))
    content = {"channel_names": {"0": "EM"}, "labels": {"background": 0, "a": 1, "b": 2}, "file_ending": ".tif"}
    (folder / "dataset.json").write_text(json.dumps(content))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64", "bool"])
def test_tiff_volumes_of_any_number_are_measured_as_nifti_volumes_and_nothing_else_is_printed(tmp_path, capfd, dtype):
    """ITK reads neither 64-bit numbers nor bool, nnU-Net's Tiff3DIO does."""
    maps = [random_label_map(seed, 2) for seed in range(2)]
    folder = write_cohort(tmp_path / "nifti", {"a": maps[0]}, {"a": maps[1]}, spacing=(1, 1, 2.5))
    expected = evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)
    write_tiff_cohort(tmp_path / "tiff", *(each.astype(dtype) for each in maps))
    capfd.readouterr()
    found = evaluate(tmp_path / "tiff/labelsTr", tmp_path / "tiff/pred0", settings=OVERLAP, **FAST)
    assert capfd.readouterr() == ("", "")
    for metric in ("Dice", "reference_ml"):
        assert found.value(metric, "a", "a") == expected.value(metric, "a", "anterior")


def test_a_damaged_tiff_file_is_named_with_the_reason(tmp_path):
    write_tiff_cohort(tmp_path, random_label_map(0).astype(np.int64), random_label_map(0).astype(np.int64))
    file = tmp_path / "pred0/a.tif"
    file.write_bytes(b"II*\0" + b"\xff" * 40)
    with pytest.raises(UserError, match=r"pred0/a\.tif cannot be read \("):
        evaluate(tmp_path / "labelsTr", tmp_path / "pred0", settings=OVERLAP, **FAST)


SHEARED = np.array([[0.8, 0.2, 0, -12], [0, 1, 0, 30], [0, 0, 2.5, -7], [0, 0, 0, 1]])
"""An affine whose axes x and y are not perpendicular, as of scans with a tilted gantry."""


def write_sheared(folder, affine=SHEARED):
    """A cohort of one case that nnU-Net reads by its NibabelIO, and ITK not at all."""
    maps = [random_label_map(seed) for seed in range(2)]
    write_cohort(folder, {"a": maps[0]}, {"a": maps[1]})
    nibabel.save(nibabel.Nifti1Image(maps[0].T, SHEARED), folder / "labelsTr/a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(maps[1].T, affine), folder / "pred0/a.nii.gz")
    with pytest.raises(RuntimeError, match="orthonormal"):
        sitk.ReadImage(str(folder / "labelsTr/a.nii.gz"))
    return folder


def test_files_whose_axes_are_not_perpendicular_are_read_by_nibabel(tmp_path, capfd):
    reference, prediction = random_label_map(0) == 1, random_label_map(1) == 1
    folder = write_sheared(tmp_path)
    result = evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)
    dice = 2 * (reference & prediction).sum() / (reference.sum() + prediction.sum())
    assert result.value("Dice", "a", "anterior") == pytest.approx(dice)
    edge = np.hypot(0.2, 1)  # of a voxel along y
    assert result.value("reference_ml", "a", "anterior") == pytest.approx(reference.sum() * 0.8 * edge * 2.5 / 1000)
    assert capfd.readouterr() == ("", "")


def test_grids_whose_axes_are_not_perpendicular_are_compared(tmp_path):
    moved = SHEARED.copy()
    moved[0, 3] += 3
    folder = write_sheared(tmp_path, moved)
    with pytest.raises(UserError, match=r"origin \(9, -30, -7\), expected \(12, -30, -7\)"):
        evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)


def test_spacings_beside_tiff_volumes_are_compared(tmp_path):
    write_tiff_cohort(tmp_path, random_label_map(0), random_label_map(0), ([2.5, 1, 1], [3.0, 1, 1]))
    with pytest.raises(UserError, match=r"spacing \(1, 1, 3\), expected \(1, 1, 2\.5\)"):
        evaluate(tmp_path / "labelsTr", tmp_path / "pred0", settings=OVERLAP, **FAST)
