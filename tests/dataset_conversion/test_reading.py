"""Forms in which a 3D volume may be stored."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from ser_nnunet.dataset_conversion import convert
from ser_nnunet.dataset_conversion.cases import Volume
from ser_nnunet.dataset_conversion.reading import ReadingError, read

from tests.dataset_conversion.builders import LABEL, pansegdata

VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
AFFINE = np.array([[-0.5, 0, 0, 10], [0, 0, 2, -20], [0, 0.75, 0, 30], [0, 0, 0, 1.0]])


def stored(path: Path, shape: tuple[int, ...]) -> Volume:
    nibabel.save(nibabel.Nifti1Image(np.resize(VOXELS, shape), AFFINE), path)
    return Volume(path)


@pytest.mark.parametrize("axes", [(1,), (1, 1), (1, 1, 1)])
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_axes_of_one_after_the_third_are_dropped(tmp_path: Path, axes: tuple[int, ...], ending: str):
    plain = read(stored(tmp_path / f"plain.{ending}", VOXELS.shape))
    image = read(stored(tmp_path / f"image.{ending}", (*VOXELS.shape, *axes)))
    assert np.array_equal(sitk.GetArrayFromImage(image), VOXELS.T)
    for part in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(image, part)(), getattr(plain, part)())
    assert image.GetSpacing() == pytest.approx((0.5, 0.75, 2))


def test_a_data_set_with_such_files_gets_files_with_three_axes(tmp_path: Path):
    toy = pansegdata(tmp_path / "source", "T2")
    for role in ("T2", LABEL):
        path = toy.files["NYU_0001", role]
        plain = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(plain.get_fdata()[..., None], plain.affine), path)
    report = convert(toy.source, 704, dataset=toy.dataset, raw=tmp_path / "raw", processes=1, **toy.options)
    for role, name in (("T2", "imagesTr/NYU_0001_0000.nii.gz"), (LABEL, "labelsTr/NYU_0001.nii.gz")):
        written = nibabel.load(report.folder / name)
        expected = sitk.GetArrayFromImage(toy.truth["NYU_0001", role]).T
        assert written.shape == expected.shape and np.array_equal(written.get_fdata(), expected.round())


def test_a_3d_volume_of_one_slice_keeps_its_axes(tmp_path: Path):
    assert read(stored(tmp_path / "slice.nii", (2, 3, 1))).GetSize() == (2, 3, 1)


@pytest.mark.parametrize("shape", [(2, 3, 4, 2), (2, 3, 4, 1, 2)])
def test_more_than_one_volume_is_refused(tmp_path: Path, shape: tuple[int, ...]):
    with pytest.raises(ReadingError):
        read(stored(tmp_path / "series.nii", shape))
