"""Read one volume of the source, whatever it is stored as, and take fingerprints of files and voxels."""

from __future__ import annotations

import hashlib
import zlib
from functools import lru_cache
from pathlib import Path
from typing import cast

import nibabel
import numpy as np
import SimpleITK as sitk
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError, SpatialImage
from ser_nnunet.dataset_conversion.core import dicom
from ser_nnunet.dataset_conversion.core.data_classes import Volume

UNREADABLE = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    ImageFileError,
    HeaderDataError,
    HeaderTypeError,
)
"""What SimpleITK, nibabel and zlib raise for a file that is broken."""


class ReadingError(Exception):
    """A volume that cannot be read: `kind` is the problem's kind, the message says why."""

    def __init__(self, message: str, kind: str = "unreadable") -> None:
        """Remember the kind of problem."""
        super().__init__(message)
        self.kind = kind


def read(volume: Volume) -> sitk.Image:
    """Read a volume as a 3D scalar image with its own geometry; raises `ReadingError`."""
    if volume.path.is_dir():
        return _read_series(volume.path)
    image = _read_file(volume.path)
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise ReadingError(f"{image.GetNumberOfComponentsPerPixel()} values per voxel, expected 1", "components")
    if volume.component is not None:
        return _component(image, volume.component, volume.components)
    return _without_fourth_axis(image)


def stored_axes(path: Path) -> int:
    """How many axes a readable NIfTI file has on disk; reading drops those of size 1 after the third."""
    return len(cast(SpatialImage, nibabel.load(path)).shape)


def storage(path: Path) -> str:
    """How a readable NIfTI file stores integers that its header scales, or "" where it does not."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return ""
    proxy = cast(ArrayProxy, cast(SpatialImage, nibabel.load(path)).dataobj)
    if (proxy.slope, proxy.inter) == (1, 0) or proxy.dtype.kind == "f":
        return ""
    return f"{proxy.dtype.name} with slope {proxy.slope:g} and intercept {proxy.inter:g}"


def source_files(volume: Volume) -> list[Path]:
    """All files that a volume is read from: one, a `.mhd` and its `.raw`, or the slices of a series."""
    if volume.path.is_dir():
        return dicom.slices(dicom.the_series(volume.path))
    return [volume.path, *_raw_beside(volume.path)]


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(array: np.ndarray) -> str:
    """SHA-256 of the decoded voxels (as float32) and the shape: independent of packing, header and number type."""
    digest = hashlib.sha256(repr(array.shape).encode())
    for part in array:  # slice by slice: a whole CT scan as float32 would double the memory
        digest.update(np.ascontiguousarray(part, dtype=np.float32).data)
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _decode(path: Path, modified_ns: int) -> sitk.Image:
    """Decode a file; the last one is kept, because the channels of a 4D file are asked for one after the other."""
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return _decode_nifti(path)
    return sitk.ReadImage(str(path))


def _decode_nifti(path: Path) -> sitk.Image:
    """Voxels by nibabel, geometry by SimpleITK.

    ITK's own NIfTI reader turns every NaN and Inf into 0 in silence, and takes the voxels of `a.nii` when it is asked
    for `a.nii.gz` and both are there.
    """
    proxy = cast(ArrayProxy, cast(SpatialImage, nibabel.load(path)).dataobj)
    array = np.asanyarray(proxy.get_unscaled())
    if array.dtype.fields:
        raise ReadingError("several values per voxel, expected 1", "components")
    while array.ndim > 3 and array.shape[-1] == 1:  # as SimpleITK does, whose geometry then has three axes
        array = array[..., 0]
    array = _scaled(array.T, float(proxy.slope), float(proxy.inter))
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    image = sitk.GetImageFromArray(array, isVector=False)
    image.SetSpacing(reader.GetSpacing())
    image.SetOrigin(reader.GetOrigin())
    image.SetDirection(reader.GetDirection())
    return image


def _scaled(array: np.ndarray, slope: float, inter: float) -> np.ndarray:
    """Voxels times slope plus intercept: integers become float32, as nibabel's float64 would double the memory.

    The numbers are float64's, rounded to float32; the array is worked on slice by slice.
    """
    if (slope, inter) == (1, 0):
        return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    scaled = np.empty(array.shape, array.dtype.newbyteorder("=") if array.dtype.kind == "f" else np.float32)
    for index in np.ndindex(array.shape[:-2]):
        scaled[index] = array[index] * np.float64(slope) + inter
    return scaled


def _read_file(path: Path) -> sitk.Image:
    if not path.is_file():
        raise ReadingError("it is no file; is it a link that leads nowhere?")
    absent = [raw.name for raw in _raw_beside(path) if not raw.is_file()]
    if absent:
        raise ReadingError(f"its voxels are in {absent[0]}, which is not beside it")
    try:
        return _decode(path, path.stat().st_mtime_ns)
    except UNREADABLE as error:
        raise ReadingError(_last_line(error)) from None


def _read_series(folder: Path) -> sitk.Image:
    try:
        return dicom.read_series(folder)
    except dicom.SeriesError as error:
        raise ReadingError(str(error), "series") from None
    except RuntimeError as error:
        raise ReadingError(_last_line(error)) from None


def _component(image: sitk.Image, index: int, expected: int | None) -> sitk.Image:
    if image.GetDimension() == 3 and expected == 1:
        return image
    found = image.GetSize()[3] if image.GetDimension() == 4 else 1
    if found != expected:
        raise ReadingError(f"{found} channels along the fourth axis, expected {expected}", "components")
    return image[:, :, :, index]


def _without_fourth_axis(image: sitk.Image) -> sitk.Image:
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        return image[:, :, :, 0]
    if image.GetDimension() != 3:
        raise ReadingError(f"{image.GetDimension()} axes of size {image.GetSize()}, expected 3", "components")
    return image


def _raw_beside(path: Path) -> list[Path]:
    if path.suffix.lower() != ".mhd":
        return []
    header = path.read_text(errors="replace").splitlines()
    names = [line.split("=", 1)[1].strip() for line in header if line.startswith("ElementDataFile")]
    return [path.with_name(name) for name in names if name not in ("LOCAL", "LIST")]


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
