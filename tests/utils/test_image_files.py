"""The door for images: damaged, truncated and oversized files are refused before a library decodes them."""

import gzip
import os
import struct
import zlib

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from ser_nnunet.utils import image_files
from ser_nnunet.utils.image_files import ImageFileError, check_image, check_image_header
from ser_nnunet.utils.nifti import read_voxels
from ser_nnunet.utils.nifti_header import TYPES, read_header
from tests.hostile import nifti_header

VOXELS = np.random.default_rng(0).integers(0, 4, (6, 9, 11)).astype(np.uint8)


def save(file, array=VOXELS):
    sitk.WriteImage(sitk.GetImageFromArray(array), str(file), useCompression=True)
    return file


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".png"])
def test_whole_files_pass(tmp_path, ending):
    check_image(save(tmp_path / f"a{ending}", VOXELS[0] if ending == ".png" else VOXELS))


def test_a_gzip_file_of_several_members_with_padding_passes(tmp_path):
    content = gzip.decompress(save(tmp_path / "a.nii.gz").read_bytes())
    members = [gzip.compress(content[:400]), gzip.compress(content[400:]), bytes(512)]
    (tmp_path / "a.nii.gz").write_bytes(b"".join(members))
    check_image(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
def test_every_truncation_is_refused(tmp_path, ending):
    file = save(tmp_path / f"a{ending}")
    whole = file.read_bytes()
    for length in [len(whole) - 1, len(whole) - 4, len(whole) - 8, *range(0, len(whole), 29)]:
        file.write_bytes(whole[:length])
        with pytest.raises(ImageFileError):
            check_image(file)


@pytest.mark.parametrize(("ending", "first"), [(".nii.gz", 10), (".mha", 300)])
def test_every_flipped_bit_that_changes_a_voxel_is_refused(tmp_path, ending, first):
    file = save(tmp_path / f"a{ending}")
    whole = file.read_bytes()
    start = max(first, whole.find(b"LOCAL\n") + 6)
    bits = range(8 * start, 8 * len(whole), 7)
    accepted = []
    for bit in bits:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        try:
            check_image(file)
        except ImageFileError:
            continue
        accepted.append(bit)
        assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(file))), VOXELS)
    assert len(accepted) <= 1, "only the few unused bits at the end of the stream may differ"


@pytest.mark.parametrize("edge", [1000, 2000, 30000])
def test_a_small_file_that_declares_a_giant_volume_is_refused_unread(tmp_path, edge):
    for name, content in (("a.nii.gz", gzip.compress(nifti_header(edge))), ("a.nii", nifti_header(edge))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageFileError, match=f"declares {edge} x {edge} x {edge} voxels.*can't hold"):
            check_image_header(tmp_path / name)


def test_a_metaimage_that_declares_a_giant_volume_is_refused_unread(tmp_path):
    file = save(tmp_path / "a.mha")
    file.write_bytes(file.read_bytes().replace(b"DimSize = 11 9 6", b"DimSize = 9999 9999 9999"))
    with pytest.raises(ImageFileError, match="declares 9999 x 9999 x 9999 voxels"):
        check_image_header(file)


def test_what_would_not_fit_memory_is_refused(tmp_path, monkeypatch):
    file = save(tmp_path / "a.nii.gz")
    monkeypatch.setattr(image_files, "available_memory", lambda: 1000)
    with pytest.raises(ImageFileError, match=r"GiB of memory, 0\.0 GiB are free"):
        check_image_header(file)


def test_a_stream_that_goes_on_far_beyond_the_voxels_is_not_read_to_its_end(tmp_path):
    content = gzip.decompress(save(tmp_path / "a.nii.gz").read_bytes()) + bytes(20 << 20)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ImageFileError, match="more than twice"):
        check_image(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    ("at", "value", "reason"), [(40, -3, "-3 axes"), (42, 0, "shape"), (70, 777, "damaged"), (0, 5, "no NIfTI header")]
)
def test_impossible_headers_are_refused(tmp_path, at, value, reason):
    content = bytearray(nifti_header(3))
    struct.pack_into("<h", content, at, value)
    (tmp_path / "a.nii").write_bytes(content + bytes(4 * 27))
    with pytest.raises(ImageFileError, match=reason):
        check_image_header(tmp_path / "a.nii")


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.raw", "sub/a.raw", "/dev/zero", "LIST", "", "..", "absent.raw"])
def test_a_metaimage_names_one_file_beside_it(tmp_path, name):
    header = save(tmp_path / "a.mhd")
    lines = [line for line in header.read_text().splitlines() if not line.startswith("ElementDataFile")]
    header.write_text("\n".join([*lines, f"ElementDataFile = {name}", ""]))
    with pytest.raises(ImageFileError, match="its voxels are in"):
        check_image(header)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize(("kind", "word"), [("pipe", "a pipe"), ("device", "a device"), ("folder", "a folder")])
@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".png"])
def test_what_is_no_regular_file_is_never_opened(tmp_path, kind, word, ending):
    file = tmp_path / f"a{ending}"
    {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](file)
    with pytest.raises(ImageFileError, match=word):
        check_image(file)


def test_missing_empty_and_misnamed_files_are_refused(tmp_path):
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    (tmp_path / "foreign.nii.gz").write_bytes(zlib.compress(b"no image"))
    for name, reason in {"absent.nii": "No such file", "empty.nii.gz": "empty", "foreign.nii.gz": "damaged"}.items():
        with pytest.raises(ImageFileError, match=reason):
            check_image(tmp_path / name)


@pytest.mark.parametrize("image_class", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_versions_and_byte_orders_are_read(tmp_path, image_class, order):
    array = np.arange(24, dtype=f"{order}i2").reshape(2, 3, 4)
    header = image_class.header_class(endianness=order)
    header.set_data_dtype(array.dtype)
    nibabel.save(image_class(array, np.eye(4), header), tmp_path / "a.nii.gz")
    check_image(tmp_path / "a.nii.gz")
    voxels, slope, intercept = read_voxels(tmp_path / "a.nii.gz")
    assert (np.asarray(voxels) == array).all() and (slope, intercept) == (1, 0)


@pytest.mark.parametrize("image_class", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("code", sorted(set(TYPES) - {32, 1792, 2048, 1536}))
def test_headers_say_what_nibabel_says(tmp_path, image_class, code):
    header = image_class.header_class(endianness=">")
    header.set_data_shape((2, 3, 4, 5))
    header["datatype"], header["bitpix"], header["vox_offset"] = code, 8 * np.dtype(TYPES[code]).itemsize, 400 + 144
    content = b"".join([header.binaryblock, bytes(4), bytes(600)])
    (tmp_path / "a.nii").write_bytes(content)
    found = read_header(tmp_path / "a.nii")
    assert (found.shape, found.offset) == ((2, 3, 4, 5), 544)
    assert found.dtype.itemsize == header.get_data_dtype().itemsize
    assert found.dtype.kind == "V" or found.dtype == header.get_data_dtype()
