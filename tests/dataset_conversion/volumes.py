"""Sample volumes of known content, and writing them as NIfTI, MetaImage pairs or real DICOM series."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian, generate_uid

SIZE = (20, 22, 12)
LPS = (1.0, 0, 0, 0, 1, 0, 0, 0, 1)
LAS = (1.0, 0, 0, 0, -1, 0, 0, 0, 1)
UPSIDE_DOWN = (1.0, 0, 0, 0, -1, 0, 0, 0, -1)
TILTED = (1.0, 0, 0, 0, 0.9659258262890683, -0.25881904510252074, 0, 0.25881904510252074, 0.9659258262890683)


def scalar_image(seed: int, dtype: str = "float32") -> np.ndarray:
    """MRI-like positive values, `(z, y, x)`."""
    values = np.random.default_rng(seed).integers(1, 900, SIZE[::-1])
    return values.astype(dtype)


def mask(seed: int) -> np.ndarray:
    """A box that no flip maps onto itself, with a voxel elsewhere that differs between the seeds 0 to 99."""
    array = np.zeros(SIZE[::-1], np.uint8)
    array[2:5, 3:8, 4 : 8 + seed % 6] = 1
    array[6, 4 + seed // 10, 3 + seed % 10] = 1
    return array


def ct_image(seed: int, organ: np.ndarray) -> np.ndarray:
    """Air around a body of fat in which the organ (`organ > 0`) is soft tissue, in HU."""
    rng = np.random.default_rng(seed)
    array = rng.integers(-120, -80, SIZE[::-1])
    array[:, :2], array[:, -3:] = -1000, -1000
    array[organ > 0] = rng.integers(80, 120, int((organ > 0).sum()))
    return array.astype(np.int16)


def image_of(
    array: np.ndarray,
    spacing: tuple[float, ...] = (0.8, 0.9, 2.5),
    origin: tuple[float, ...] = (-12.0, 30.5, -7.25),
    direction: tuple[float, ...] = LPS,
) -> sitk.Image:
    """A 3D image, or a 4D one from an array `(channel, z, y, x)`, with a geometry."""
    if array.ndim == 4:
        return sitk.JoinSeries([image_of(channel, spacing, origin, direction) for channel in array])
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


def save(image: sitk.Image, path: Path) -> None:
    """Write an image to `path`: a file of the format that its ending means, or a folder of DICOM slices."""
    if path.suffix == "":
        shutil.rmtree(path, ignore_errors=True)
        save_series(image, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def save_series(image: sitk.Image, folder: Path) -> None:
    """Write a CT series in the manner of TCIA's Pancreas-CT: z from the positions alone, no slice thickness."""
    folder.mkdir(parents=True)
    series, study = generate_uid(), generate_uid()
    for index, pixels in enumerate(sitk.GetArrayFromImage(image)):
        position = image.TransformIndexToPhysicalPoint((0, 0, index))
        dataset = _slice(pixels, position, image, index)
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, study
        dataset.save_as(folder / f"1-{index + 1:03d}.dcm", enforce_file_format=True)


def _slice(pixels: np.ndarray, position: tuple[float, ...], image: sitk.Image, index: int) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    direction, spacing = image.GetDirection(), image.GetSpacing()
    dataset.Modality, dataset.InstanceNumber, dataset.SliceThickness = "CT", index + 1, None
    dataset.ImagePositionPatient = [f"{number:.6g}" for number in position]
    dataset.ImageOrientationPatient = [*direction[0::3], *direction[1::3]]
    dataset.PixelSpacing = [spacing[1], spacing[0]]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.PixelData = pixels.astype("<i2").tobytes()
    return dataset
