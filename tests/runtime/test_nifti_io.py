"""Without SimpleITK, nibabel reads NIfTI files alike, and masks keep the header's geometry."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.image_io import read_image, scan_from_images
from ser_nnunet.runtime.nifti_io import read_nifti_scan, write_nifti_mask
from tests.runtime.toy import plan, recipe, volume

SPACING, ORIGIN = (0.9, 1.1, 3.0), (5, -7, 9)
OBLIQUE = (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)


def write(file, array=None, kind=sitk.sitkInt16):
    image = sitk.Cast(sitk.GetImageFromArray(volume()[0] if array is None else array), kind)
    if image.GetDimension() == 3:
        image.SetSpacing(SPACING)
        image.SetOrigin(ORIGIN)
        image.SetDirection(OBLIQUE)
    sitk.WriteImage(image, str(file))
    return file


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [sitk.sitkUInt8, sitk.sitkInt16, sitk.sitkFloat32, sitk.sitkFloat64])
def test_scans_are_simpleitks(tmp_path, ending, kind):
    model = recipe(plan(schemes=("ZScoreNormalization",) * 2, masks=(False,) * 2))
    files = [write(tmp_path / f"case_{channel:04d}{ending}", volume(seed=channel)[0], kind) for channel in range(2)]
    scan = read_nifti_scan(files, model)
    expected = scan_from_images([read_image(file) for file in files], ["a", "b"], model)
    assert scan.voxels.dtype == np.float32 and (scan.voxels == expected.voxels).all()
    assert np.allclose(scan.spacing, expected.spacing, atol=1e-6)


def test_slope_and_intercept_are_applied(tmp_path):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(4, 3, 2), np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    image.to_filename(tmp_path / "case.nii.gz")
    scan = read_nifti_scan([tmp_path / "case.nii.gz"], recipe())
    expected = scan_from_images([read_image(tmp_path / "case.nii.gz")], ["a"], recipe())
    assert (scan.voxels == expected.voxels).all()
    write_nifti_mask(np.ones((2, 3, 4), np.uint8), scan.grid, tmp_path / "mask.nii.gz")
    assert (nibabel.load(tmp_path / "mask.nii.gz").get_fdata() == 1).all()


def test_2d_images_are_simpleitks(tmp_path):
    file = write(tmp_path / "case.nii.gz", volume()[0, 4])
    scan, expected = read_nifti_scan([file], recipe()), scan_from_images([read_image(file)], ["a"], recipe())
    assert (scan.voxels == expected.voxels).all() and scan.spacing == expected.spacing
    write_nifti_mask(np.ones(scan.voxels.shape[1:], np.uint8), scan.grid, tmp_path / "mask.nii.gz")
    assert sitk.ReadImage(tmp_path / "mask.nii.gz").GetSize() == (18, 22)


def test_masks_have_the_images_geometry_and_nothing_else_of_its_header(tmp_path):
    file = write(tmp_path / "case.nii.gz")
    image = nibabel.load(file)
    image.header["descrip"] = b"A patient's name"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"born 1970"))
    nibabel.Nifti1Image(image.get_fdata(), image.affine, image.header).to_filename(file)
    scan = read_nifti_scan([file], recipe())
    mask = np.zeros(scan.voxels.shape[1:], np.uint8)
    mask[1, 2, 3] = 7
    write_nifti_mask(mask, scan.grid, tmp_path / "out" / "mask.nii.gz")
    found, source = sitk.ReadImage(tmp_path / "out" / "mask.nii.gz"), sitk.ReadImage(file)
    assert found.GetPixelID() == sitk.sitkUInt8 and (sitk.GetArrayFromImage(found) == mask).all()
    for name in ("GetOrigin", "GetDirection", "GetSpacing"):
        assert np.allclose(getattr(found, name)(), getattr(source, name)(), atol=1e-5)
    written = nibabel.load(tmp_path / "out" / "mask.nii.gz").header
    assert not written.extensions and b"patient" not in bytes(written["descrip"])
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["mask.nii.gz"]


def test_what_needs_simpleitk_is_said(tmp_path):
    file = write(tmp_path / "case.mha")
    with pytest.raises(UserError, match=r"case\.mha: no NIfTI file, needs SimpleITK: python -m pip install SimpleITK"):
        read_nifti_scan([file], recipe())
    with pytest.raises(UserError, match="reoriented or 2D pictures, which needs SimpleITK"):
        read_nifti_scan([write(tmp_path / "case.nii")], recipe(reader="NibabelIOWithReorient"))


def test_broken_files_are_named(tmp_path):
    model = recipe(plan(schemes=("ZScoreNormalization",) * 2, masks=(False,) * 2))
    one, other = write(tmp_path / "one.nii.gz"), write(tmp_path / "other.nii.gz", volume((9, 22, 20))[0])
    with pytest.raises(UserError, match=r"other\.nii\.gz: size \(20.0, 22.0, 9.0\) found, expected \(18.0"):
        read_nifti_scan([one, other], model)
    one.write_bytes(one.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"one\.nii\.gz: not an image that can be read, perhaps truncated"):
        read_nifti_scan([one, one], model)
    deep = nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), np.eye(4))
    deep.to_filename(tmp_path / "deep.nii")
    with pytest.raises(UserError, match="4 dimensions of the type int16 found, expected 2 or 3"):
        read_nifti_scan([tmp_path / "deep.nii"], recipe())
