"""Images are read as nnU-Net reads them, and masks written on the grid of their images."""

import gzip
import os

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.image_io import mask_image, read_image, scan_from_images, write_image
from ser_nnunet.runtime.input_cases import find_cases
from tests.hostile import IMAGES
from tests.runtime.images import write_dicom_series
from tests.runtime.toy import plan, recipe

READERS = ["SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient"]


def image(seed=0, size=(4, 5, 6), spacing=(0.7, 0.9, 3.0), orientation="LPS"):
    array = np.random.default_rng(seed).integers(0, 200, size[::-1]).astype(np.int16)
    result = sitk.GetImageFromArray(array)
    result.SetSpacing(spacing[: len(size)])
    result.SetOrigin((10.0, -20.0, 30.0)[: len(size)])
    return result if len(size) == 2 else sitk.DICOMOrient(result, orientation)


def write(folder, *images, ending=".nii.gz"):
    files = [folder / f"case_{index:04d}{ending}" for index in range(len(images))]
    for each, file in zip(images, files, strict=True):
        sitk.WriteImage(each, str(file))
    return files


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR"])
@pytest.mark.parametrize("reader", READERS)
def test_arrays_spacings_and_written_masks_equal_nnunets(tmp_path, reader, orientation):
    files = write(tmp_path, image(0, orientation=orientation), image(1, orientation=orientation))
    nnunets = recursive_find_reader_writer_by_name(reader)()
    expected, properties = nnunets.read_images([str(file) for file in files])
    scan = scan_from_images([read_image(file) for file in files], list(map(str, files)), recipe(reader=reader))
    assert scan.voxels.dtype == np.float32 and (scan.voxels == expected).all()
    assert np.allclose(scan.spacing, properties["spacing"], atol=1e-6)
    mask = (scan.voxels[0] > 100).astype(np.uint8)
    nnunets.write_seg(mask, str(tmp_path / "theirs.nii.gz"), properties)
    write_image(mask_image(mask, scan.grid), tmp_path / "new" / "ours.nii.gz")
    ours, theirs = sitk.ReadImage(tmp_path / "new/ours.nii.gz"), sitk.ReadImage(tmp_path / "theirs.nii.gz")
    assert (sitk.GetArrayFromImage(ours) == sitk.GetArrayFromImage(theirs)).all()
    for one, other in ((ours, theirs), (ours, sitk.ReadImage(files[0]))):
        assert one.GetSize() == other.GetSize()
        for read in (sitk.Image.GetSpacing, sitk.Image.GetOrigin, sitk.Image.GetDirection):
            assert np.allclose(read(one), read(other), atol=1e-5)
    assert ours.GetPixelID() == sitk.sitkUInt8
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["ours.nii.gz"]


def test_2d_images_have_one_slice(tmp_path):
    files = write(tmp_path, image(size=(4, 5)), ending=".mha")
    nnunets = recursive_find_reader_writer_by_name("SimpleITKIO")()
    expected, properties = nnunets.read_images([str(files[0])])
    scan = scan_from_images([read_image(files[0])], ["a"], recipe())
    assert (scan.voxels == expected).all() and np.allclose(scan.spacing, properties["spacing"])
    assert mask_image(scan.voxels[0].astype(np.uint8), scan.grid).GetSize() == (4, 5)


@pytest.mark.parametrize("components", [1, 3])
def test_pictures_are_read_as_nnunet_reads_them(tmp_path, components):
    shape = (5, 4, 3) if components == 3 else (5, 4)
    colours = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    file = tmp_path / "case_0000.png"
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=components == 3), str(file))
    expected, properties = recursive_find_reader_writer_by_name("NaturalImage2DIO")().read_images([str(file)])
    scan = scan_from_images([read_image(file)], ["a"], recipe(reader="NaturalImage2DIO"))
    assert (scan.voxels == expected).all() and scan.spacing == properties["spacing"]


def test_grey_pictures_of_a_case_are_its_channels_and_one_picture_is_its_colours(tmp_path):
    taught = recipe(plan(schemes=("ZScoreNormalization",) * 3, masks=(False,) * 3, reader="NaturalImage2DIO"))
    rng = np.random.default_rng(0)
    for name in ("a_0000", "a_0001", "a_0002", "lacks_0000", "lacks_0002", "many_0000", "many_0003"):
        sitk.WriteImage(sitk.GetImageFromArray(rng.integers(0, 255, (5, 4)).astype(np.uint8)), tmp_path / f"{name}.png")
    colours = sitk.GetImageFromArray(rng.integers(0, 255, (5, 4, 3)).astype(np.uint8), isVector=True)
    sitk.WriteImage(colours, tmp_path / "b_0000.png")
    grey, coloured, lacking, many = find_cases([tmp_path], taught)
    for case, count in ((grey, 3), (coloured, 1)):
        assert not case.problem and len(case.images) == count
        expected, _ = recursive_find_reader_writer_by_name("NaturalImage2DIO")().read_images(
            list(map(str, case.images))
        )
        scan = scan_from_images([read_image(file) for file in case.images], ["a"] * count, taught)
        assert scan.voxels.shape == (3, 1, 5, 4) and (scan.voxels == expected).all()
    assert lacking.problem == "channel 0001 (MR1) is missing"
    assert "many_0003.png: the model has no channel 0003" in many.problem


def test_dicom_series_are_read_from_their_folder(tmp_path):
    volume = image(size=(6, 5, 3))
    series = write_dicom_series(tmp_path / "series", volume)
    found = read_image(series)
    assert (sitk.GetArrayFromImage(found) == sitk.GetArrayFromImage(volume)).all()
    assert np.allclose(found.GetSpacing(), volume.GetSpacing()) and np.allclose(found.GetOrigin(), volume.GetOrigin())
    with pytest.raises(UserError, match=r"one DICOM series expected, 0 found"):
        read_image(tmp_path)


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.99])
@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_truncated_files_are_named(tmp_path, ending, kept):
    """SimpleITK alone reads the first two with zeros for what is missing."""
    (file,) = write(tmp_path, image(size=(40, 50, 60)), ending=ending)
    read_image(file)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError, match=r"case_0000\.\w+.*truncated"):
        read_image(file)


@pytest.mark.parametrize("position", [-8, -2000, -20_000])
def test_damaged_gzip_files_are_named(tmp_path, position):
    """SimpleITK alone reads wrong voxels without a word."""
    noise = np.random.default_rng(0).normal(size=(40, 50, 60)).astype(np.float32)
    (file,) = write(tmp_path, sitk.GetImageFromArray(noise))
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"case_0000\.nii\.gz: not an image that can be read"):
        read_image(file)


def test_complete_files_of_several_gzip_members_are_read(tmp_path):
    (plain,) = write(tmp_path, image(size=(40, 50, 60)), ending=".nii")
    content, packed = plain.read_bytes(), tmp_path / "members.nii.gz"
    packed.write_bytes(gzip.compress(content[:100_000]) + gzip.compress(content[100_000:]))
    assert (sitk.GetArrayFromImage(read_image(packed)) == sitk.GetArrayFromImage(read_image(plain))).all()


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes, devices and links")
@pytest.mark.parametrize("kind", sorted(set(IMAGES) - {"a NaN"}))  # of voxels: tests of `input_checks`
def test_hostile_files_are_refused_before_they_are_read(tmp_path, kind):
    (file,) = write(tmp_path, image(size=(40, 50, 60)))
    IMAGES[kind](file)
    with pytest.raises(UserError, match=r"case_0000\.nii\.gz: "):
        read_image(file)


def test_a_series_that_lacks_a_slice_is_refused(tmp_path):
    """SimpleITK alone closes the gap."""
    series = write_dicom_series(tmp_path / "series", image(size=(6, 5, 5)))
    sorted(series.iterdir())[2].unlink()
    with pytest.raises(UserError, match=r"series: slices are not evenly spaced: .*is a slice missing\?"):
        read_image(series)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.nii\.gz: not an image that can be read"):
        read_image(tmp_path / "none.nii.gz")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"size": (4, 5, 7)}, r"size \(4\.0, 5\.0, 7\.0\) found, expected \(4\.0, 5\.0, 6\.0\) as of t1"),
        ({"spacing": (0.7, 0.9, 4.0)}, r"flair: spacing \(0\.7, 0\.9, 4\.0\) found, expected \(0\.7, 0\.9, 3\.0\)"),
        ({"orientation": "RAS"}, "flair: orientation"),
    ],
)
def test_channels_on_different_grids_are_refused(other, message):
    with pytest.raises(UserError, match=message) as caught:
        scan_from_images([image(), image(1, **other)], ["t1", "flair"], recipe())
    assert "register and resample" in str(caught.value)


def test_several_values_per_voxel_are_refused():
    colours = sitk.GetImageFromArray(np.zeros((3, 4, 5, 3), np.uint8), isVector=True)
    with pytest.raises(UserError, match=r"a: 3 dimensions with 3 values per voxel found"):
        scan_from_images([colours], ["a"], recipe())


def test_no_image_at_all_is_refused_with_the_number_expected():
    with pytest.raises(UserError, match="no image given; the model expects 1: "):
        scan_from_images([], [], recipe())
