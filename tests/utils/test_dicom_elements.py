"""Lengths in DICOM files: damaged ones are found before GDCM reserves memory for them, whole files pass."""

import struct

import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ser_nnunet.utils.dicom_elements import find_overlong_element
from ser_nnunet.utils.dicom_slices import SeriesError, check_series_files


def write(file, syntax=ExplicitVRLittleEndian):
    """A file with a nested sequence before its voxels."""
    inner = Dataset()
    inner.CodeValue, inner.CodeMeaning = "T-D1100", "Head"
    outer = Dataset()
    outer.PatientName, outer.AnatomicRegionSequence = "A^B", pydicom.Sequence([inner])
    outer.AnatomicRegionSequence.is_undefined_length = True
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset(str(file), {}, file_meta=meta)
    dataset.preamble = bytes(128)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.2", "1.2.3", "CT"
    dataset.ReferencedImageSequence = pydicom.Sequence([outer])
    dataset.add_new(0x00091010, "UN", b"private")
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = 2, 2, 16
    dataset.add_new(0x7FE00010, "OW", bytes(8))
    dataset.save_as(file, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return file


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_whole_files_pass(tmp_path, syntax):
    assert find_overlong_element(write(tmp_path / "a.dcm", syntax)) is None


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("value", [b"Head", b"private"])  # in two nested sequences, and after them
def test_a_length_beyond_the_file_is_found(tmp_path, syntax, value):
    file = write(tmp_path / "a.dcm", syntax)
    content = bytearray(file.read_bytes())
    place = content.index(value) - (2 if syntax == ExplicitVRLittleEndian and value == b"Head" else 4)
    struct.pack_into("<H" if place == content.index(value) - 2 else "<L", content, place, 60_000)
    file.write_bytes(content)
    assert "60000 bytes, more than the file" in find_overlong_element(file)
    with pytest.raises(SeriesError, match=r"a\.dcm is damaged"):
        check_series_files([file])


def test_an_element_of_no_known_type_is_found(tmp_path):
    file = write(tmp_path / "a.dcm")
    file.write_bytes(file.read_bytes().replace(b"CS", b"2.", 1))
    assert "of no known type" in find_overlong_element(file)


def test_a_file_that_does_not_begin_as_dicom_files_do_is_found(tmp_path):
    (tmp_path / "a").write_bytes(bytes(128) + b"DICM" + bytes(20))
    assert find_overlong_element(tmp_path / "a") == "it does not begin with the group 0002"


@pytest.mark.parametrize("content", [b"", b"text", bytes(300)])
def test_other_files_are_left_to_gdcm(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert find_overlong_element(tmp_path / "a") is None
