"""Read one volume of the source: NIfTI, MetaImage or a DICOM series."""

from __future__ import annotations

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
from ser_nnunet.utils import metaimage
from ser_nnunet.utils.dicom_slices import SeriesError
from ser_nnunet.utils.geometry import Grid
from ser_nnunet.utils.image_files import check_image, check_image_header
from ser_nnunet.utils.nifti import read_voxels
from ser_nnunet.utils.nifti_header import is_nifti
from ser_nnunet.utils.unusual_images import NOT_PERPENDICULAR, TIFF, check_readable, open_tiff

WITHOUT_SPACING = (".png", ".bmp", ".tif", ".tiff")
"""Formats whose resolution nnU-Net ignores: TIFF's is that of printing."""
SHEARED = "sheared axes"
"""Kind of the problem of such a file, which nnU-Net's NibabelIO reads and nothing here does."""
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
    """A volume that cannot be read: `kind` is the problem's kind, the message states why."""

    def __init__(self, message: str, kind: str = "unreadable") -> None:
        """Remember the kind of problem."""
        super().__init__(message)
        self.kind = kind


def read_volume(volume: Volume) -> sitk.Image:
    """Read a volume as a 3D scalar image with its own geometry; raises `ReadingError`."""
    path = volume.path
    try:
        if path.is_dir():
            series: sitk.Image = dicom.read_series(path)
            return series
        if not path.exists():
            raise ReadingError("it is no file; is it a link whose target is missing?")
        image = _decode(path, path.stat().st_mtime_ns)
    except SeriesError as error:
        raise ReadingError(str(error), "series") from None
    except UNREADABLE as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ReadingError(lines[-1] if lines else type(error).__name__) from None
    return _select_component(image, volume)


def list_source_files(volume: Volume) -> list[Path]:
    """Return all files that a volume is read from: one, a `.mhd` and its `.raw`, or the slices of a series."""
    if volume.path.is_dir():
        slices: list[Path] = dicom.list_slices(volume.path)
        return slices
    if metaimage.is_metaimage(volume.path):
        return list(dict.fromkeys([volume.path, metaimage.read_header(volume.path).voxels]))
    return [volume.path]


def count_stored_axes(path: Path) -> int:
    """Return how many axes a readable NIfTI file has on disk; reading drops those of size 1 after the third."""
    return len(cast(SpatialImage, nibabel.load(path)).shape)


def describe_scaling(path: Path) -> str:
    """Return how a readable NIfTI file stores integers that its header scales, or "" where it does not."""
    if not is_nifti(path):
        return ""
    proxy = cast(ArrayProxy, cast(SpatialImage, nibabel.load(path)).dataobj)
    if (proxy.slope, proxy.inter) == (1, 0) or proxy.dtype.kind == "f":
        return ""
    return f"{proxy.dtype.name} with slope {proxy.slope:g} and intercept {proxy.inter:g}"


@lru_cache(maxsize=1)
def _decode(path: Path, modified_ns: int) -> sitk.Image:
    """Decode a file; the last one is kept, because the channels of a 4D file are read one after the other.

    The voxels of NIfTI files are read by nibabel, the geometry by SimpleITK: ITK's own NIfTI reader turns every NaN and
    Inf into 0 without a warning, reads the voxels of `a.nii` for `a.nii.gz` where both exist, and fills what a
    truncated file lacks with zeros.
    """
    if path.name.lower().endswith(TIFF) and (image := _read_tiff(path)) is not None:
        return image
    if not is_nifti(path):
        check_image(path)
        return sitk.ReadImage(str(path))
    check_image_header(path)
    array, slope, intercept = read_voxels(path)
    if array.dtype.fields:
        raise ReadingError("several values per voxel, expected 1", "components")
    while array.ndim > 3 and array.shape[-1] == 1:  # as SimpleITK does, whose geometry then has three axes
        array = array[..., 0]
    array = _scale(array.T, slope, intercept)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if NOT_PERPENDICULAR not in str(error):
            raise
        text = "its axes are not perpendicular to each other (a sheared affine): ITK refuses it, nibabel reads it"
        raise ReadingError(text, SHEARED) from None
    image = sitk.GetImageFromArray(array, isVector=False)
    image.SetSpacing(reader.GetSpacing())
    image.SetOrigin(reader.GetOrigin())
    image.SetDirection(reader.GetDirection())
    return image


def _read_tiff(path: Path) -> sitk.Image | None:
    """Read a TIFF file of one value per pixel by tifffile, as nnU-Net does; return None for one of colours.

    ITK reads no 64-bit numbers, and turns bool into colours.
    """
    check_readable(path)
    with open_tiff(path) as series:
        if "S" in series.axes or len(series.shape) not in (2, 3):
            return None
        array = series.asarray()
    return sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array, isVector=False)


def _scale(array: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Return voxels times slope plus intercept: integers become float32, as nibabel's float64 would double the memory.

    The numbers are computed in float64 and rounded to float32, slice by slice.
    """
    if (slope, intercept) == (1, 0):
        return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    scaled = np.empty(array.shape, array.dtype.newbyteorder("=") if array.dtype.kind == "f" else np.float32)
    for index in np.ndindex(array.shape[:-2]):
        scaled[index] = array[index] * np.float64(slope) + intercept
    return scaled


def _as_nnunet_reads(image: sitk.Image, volume: Volume) -> sitk.Image:
    """Return a file of nnU-Net's raw format as 3D: a 2D image as one slice, of RGB the component that is meant.

    The resolution in the headers of PNG, BMP and TIFF is set to 1, as nnU-Net ignores it.
    """
    components = image.GetNumberOfComponentsPerPixel()
    if components > 1 and volume.component is not None and components == volume.components:
        image = sitk.VectorIndexSelectionCast(image, volume.component)
    elif components > 1 and volume.path.name.lower().endswith(".bmp"):  # ITK reads grey ones as RGB, too
        parts = [sitk.VectorIndexSelectionCast(image, index) for index in range(components)]
        first = sitk.GetArrayViewFromImage(parts[0])
        image = parts[0] if all((sitk.GetArrayViewFromImage(part) == first).all() for part in parts[1:]) else image
    if image.GetDimension() == 2:
        image = sitk.JoinSeries(image)
    if volume.path.name.lower().endswith(WITHOUT_SPACING):
        image = sitk.Image(image)
        Grid(image.GetSize(), (1.0,) * 3, (0.0,) * 3, (1.0, 0, 0, 0, 1, 0, 0, 0, 1)).impose(image)
    return image


def _select_component(image: sitk.Image, volume: Volume) -> sitk.Image:
    """Return the 3D image that `volume` means; raises `ReadingError` unless the file has the axes for it."""
    if volume.reader:
        image = _as_nnunet_reads(image, volume)
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise ReadingError(f"{image.GetNumberOfComponentsPerPixel()} values per voxel, expected 1", "components")
    size = image.GetSize()
    if len(size) not in (3, 4):
        raise ReadingError(f"{len(size)} axes of size {size}, expected 3", "components")
    found, expected = size[3] if len(size) == 4 else 1, (1 if volume.reader else volume.components) or 1
    if found != expected:
        raise ReadingError(f"{found} channels along the fourth axis, expected {expected}", "components")
    index = 0 if volume.reader else volume.component or 0
    selected: sitk.Image = image if len(size) == 3 else image[:, :, :, index]
    return selected
