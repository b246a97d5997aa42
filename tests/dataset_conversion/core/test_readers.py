"""Forms in which a 3D volume may be stored."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from ser_nnunet.dataset_conversion.core.data_classes import Volume
from ser_nnunet.dataset_conversion.core.readers import ReadingError, read_volume
from tests.dataset_conversion.builders import LABEL, mslesseg, pansegdata
from tests.dataset_conversion.helpers import convert_sample
from tests.dataset_conversion.volumes import TILTED, image_of, scalar_image

VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
AFFINE = np.array([[-0.5, 0, 0, 10], [0, 0, 2, -20], [0, 0.75, 0, 30], [0, 0, 0, 1.0]])


def store(path: Path, shape: tuple[int, ...]) -> Volume:
    nibabel.save(nibabel.Nifti1Image(np.resize(VOXELS, shape), AFFINE), path)
    return Volume(path)


@pytest.mark.parametrize("axes", [(1,), (1, 1), (1, 1, 1)])
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_axes_of_one_after_the_third_are_dropped(tmp_path: Path, axes: tuple[int, ...], ending: str):
    plain = read_volume(store(tmp_path / f"plain.{ending}", VOXELS.shape))
    image = read_volume(store(tmp_path / f"image.{ending}", (*VOXELS.shape, *axes)))
    assert np.array_equal(sitk.GetArrayFromImage(image), VOXELS.T)
    for part in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(image, part)(), getattr(plain, part)())
    assert image.GetSpacing() == pytest.approx((0.5, 0.75, 2))


def test_a_data_set_with_such_files_gets_files_with_three_axes(tmp_path: Path):
    sample = pansegdata(tmp_path / "source", "T2")
    for role in ("T2", LABEL):
        path = sample.files["NYU_0001", role]
        plain = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(plain.get_fdata()[..., None], plain.affine), path)
    report = convert_sample(sample, tmp_path / "raw")
    for role, name in (("T2", "imagesTr/NYU_0001_0000.nii.gz"), (LABEL, "labelsTr/NYU_0001.nii.gz")):
        written = nibabel.load(report.folder / name)
        expected = sitk.GetArrayFromImage(sample.truth["NYU_0001", role]).T
        assert written.shape == expected.shape and np.array_equal(written.get_fdata(), expected.round())


def scaled(path: Path, image: sitk.Image, slope: float, inter: float) -> np.ndarray:
    """Store random int16 with a slope over the geometry of an image; return what they mean, `(x, y, z)` in float64."""
    sitk.WriteImage(image, str(path))
    header = nibabel.load(path).header.copy()
    header.set_data_dtype(np.int16)
    raw = np.random.default_rng(0).integers(-30000, 30000, image.GetSize()).astype(np.int16)
    stored = nibabel.Nifti1Image(raw, None, header)
    stored.header.set_slope_inter(slope, inter)
    nibabel.save(stored, path)
    meant = nibabel.load(path).get_fdata()
    assert np.allclose(meant, raw.astype(np.float64) * slope + inter)
    return meant


@pytest.mark.parametrize(("slope", "inter"), [(0.37, -12.5), (1, -1024), (2, 0)])
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_scaled_integers_are_read_as_float32(tmp_path: Path, slope: float, inter: float, ending: str):
    path = tmp_path / f"scaled.{ending}"
    meant = scaled(path, image_of(scalar_image(1), direction=TILTED), slope, inter)
    array = sitk.GetArrayFromImage(read_volume(Volume(path)))
    assert array.dtype == np.float32 and np.array_equal(array, meant.T.astype(np.float32))


def test_scaled_channels_of_a_4d_file_are_read_as_float32(tmp_path: Path):
    path = tmp_path / "scaled.nii.gz"
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_slope_inter(0.25, 3)
    raw = np.arange(48, dtype=np.int16).reshape(2, 3, 4, 2)
    stored = nibabel.Nifti1Image(raw, AFFINE, header)
    stored.header.set_slope_inter(0.25, 3)
    nibabel.save(stored, path)
    for channel in range(2):
        array = sitk.GetArrayFromImage(read_volume(Volume(path, channel, 2)))
        assert array.dtype == np.float32 and np.array_equal(array, raw[..., channel].T * 0.25 + 3)


def converted_pair(tmp_path: Path, second: Callable[[Path, sitk.Image], object]) -> tuple[Path, list[str]]:
    """Replace one T2 image of MSLesSeg; return what was written, and its changes."""
    sample = mslesseg(tmp_path / "source")
    second(sample.files["P2_T1", "T2"], sample.truth["P2_T1", "T2"])
    report = convert_sample(sample, tmp_path / "raw")
    record = json.loads((report.folder / "conversion.json").read_text())["cases"]["P2_T1"]["files"]
    entry = next(file for file in record if file["role"] == "T2")
    return report.folder / entry["file"], entry["changes"]


def test_scaled_integers_become_float32_and_that_is_recorded(tmp_path: Path):
    """Where the file must be rewritten anyway: its axes run another way than FLAIR's."""
    meant = []
    path, changes = converted_pair(
        tmp_path, lambda path, image: meant.append(scaled(path, sitk.DICOMOrient(image, "LPS"), 0.5, 100))
    )
    assert changes[-1] == "int16 with slope 0.5 and intercept 100 stored as float32"
    written = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    assert written.GetPixelID() == sitk.sitkFloat32
    assert np.array_equal(sitk.GetArrayFromImage(written), meant[0].T.astype(np.float32))


def test_scaled_integers_that_are_right_are_copied(tmp_path: Path):
    _, changes = converted_pair(tmp_path, lambda path, image: scaled(path, image, 0.5, 100))
    assert changes == ["none: copied as it is"]


@pytest.mark.parametrize(
    ("factor", "dtype"),
    [(0.5, np.float32), (1 / 3, np.float64)],  # 1/3 needs more digits than float32 has
)
def test_float64_becomes_float32_where_nothing_is_lost(tmp_path: Path, factor: float, dtype: type):
    def store(path: Path, image: sitk.Image) -> None:
        sitk.WriteImage(sitk.Cast(sitk.DICOMOrient(image, "LPS"), sitk.sitkFloat64) * factor, str(path))

    path, changes = converted_pair(tmp_path, store)
    assert ("float64 stored as float32 (no voxel changes)" in changes) == (dtype is np.float32)
    written = nibabel.load(path)
    truth = sitk.GetArrayFromImage(mslesseg(tmp_path / "again").truth["P2_T1", "T2"]).astype(np.float64) * factor
    assert written.get_data_dtype() == dtype and np.array_equal(written.get_fdata(), truth.T)


def test_a_3d_volume_of_one_slice_keeps_its_axes(tmp_path: Path):
    assert read_volume(store(tmp_path / "slice.nii", (2, 3, 1))).GetSize() == (2, 3, 1)


@pytest.mark.parametrize("shape", [(2, 3, 4, 2), (2, 3, 4, 1, 2)])
def test_more_than_one_volume_is_refused(tmp_path: Path, shape: tuple[int, ...]):
    with pytest.raises(ReadingError):
        read_volume(store(tmp_path / "series.nii", shape))


@pytest.mark.parametrize(("offset", "code", "value"), [(70, "<h", 9999), (112, "<f", 2.0)], ids=["type", "scale"])
def test_a_header_that_makes_no_sense_is_unreadable(tmp_path: Path, offset: int, code: str, value: float):
    """An unknown number type; a slope without an intercept. nibabel has errors of its own for these."""
    volume = store(tmp_path / "image.nii", VOXELS.shape)
    content = bytearray(volume.path.read_bytes())
    struct.pack_into(code, content, offset, value)
    if offset == 112:
        struct.pack_into("<f", content, 116, float("nan"))
    volume.path.write_bytes(content)
    with pytest.raises(ReadingError):
        read_volume(volume)


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-8], "flip"])
def test_damaged_gzip_files_are_refused(tmp_path: Path, damage):
    path = tmp_path / "image.nii.gz"
    sitk.WriteImage(image_of(scalar_image(1)), str(path))
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    else:
        content = damage(content)
    path.write_bytes(content)
    with pytest.raises(ReadingError):
        read_volume(Volume(path))
