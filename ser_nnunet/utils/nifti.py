"""NIfTI files: what their header declares, and their voxels as they are stored, the compressed ones with their CRC."""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import cast

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import HeaderDataError

from ser_nnunet.utils.whole_gzip import decompress, read_to_end

NIFTI_ENDINGS = (".nii", ".nii.gz")
VERSIONS = {348: nibabel.Nifti1Image, 540: nibabel.Nifti2Image}
"""By the size of the header in bytes, which is its first number."""


@dataclass(frozen=True)
class NiftiHeader:
    """What a NIfTI header declares.

    Attributes:
        shape: along the axes x, y, z and further ones.
        dtype: of the voxels in the file.
        offset: bytes before the voxels.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    offset: int

    @property
    def size(self) -> int:
        """Bytes that the decompressed file must have at least."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def is_nifti(file: Path) -> bool:
    """Return whether a file's name ends as that of a NIfTI file."""
    return file.name.lower().endswith(NIFTI_ENDINGS)


def is_compressed(file: Path) -> bool:
    """Return whether a file's name ends as that of a gzip file."""
    return file.name.lower().endswith(".gz")


def read_header(file: Path) -> NiftiHeader:
    """Read the header alone.

    Raises:
        ValueError: it is none, or declares an impossible shape or type, or complex numbers.
        OSError: the file can't be read.
    """
    if is_compressed(file):
        start = b"".join(islice(decompress(file, piece_size=1 << 12), 1))[: max(VERSIONS)]
    else:
        with file.open("rb") as stream:
            start = stream.read(max(VERSIONS))
    image_class = _choose_version(start)
    try:
        header = image_class.header_class.from_fileobj(BytesIO(start), check=False)
        shape = tuple(int(edge) for edge in header.get_data_shape())
        axes, dtype, offset = int(header["dim"][0]), np.dtype(header.get_data_dtype()), float(header["vox_offset"])
    except (HeaderDataError, TypeError, ValueError, LookupError) as error:
        raise ValueError(f"its header is damaged ({error})") from None
    if not 1 <= axes <= 7 or min(shape) < 1 or not dtype.itemsize or not 0 <= offset < 2**62:
        raise ValueError(f"its header declares the shape {shape}, {dtype.name} and {offset:g} bytes before the voxels")
    if dtype.kind == "c":
        raise ValueError("its voxels are complex numbers, expected real ones")
    return NiftiHeader(shape, dtype, int(offset))


def read_voxels(file: Path) -> tuple[np.ndarray, float, float]:
    """Return the stored voxels `(x, y, z, ...)`, and the slope and intercept that scale them.

    A compressed file is read to its end, so that the checksum there is compared.

    Raises:
        OSError, EOFError, ValueError, zlib.error, nibabel's exceptions: it is damaged or no NIfTI file.
    """
    if not is_compressed(file):
        return _get_unscaled(cast(nibabel.Nifti1Image, nibabel.load(file)))
    with gzip.open(file) as stream:
        image_class = _choose_version(stream.read(max(VERSIONS)))
        stream.seek(0)
        voxels = _get_unscaled(image_class.from_stream(stream))
        size = voxels[0].nbytes
        read_to_end(iter(lambda: stream.read(1 << 20), b""), size, found=size)
    return voxels


def _choose_version(start: bytes) -> type[nibabel.Nifti1Image]:
    sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")} & VERSIONS.keys()
    if not sizes or len(start) < (size := sizes.pop()):
        raise ValueError("it has no NIfTI header")
    return VERSIONS[size]


def _get_unscaled(image: nibabel.Nifti1Image) -> tuple[np.ndarray, float, float]:
    proxy = cast(ArrayProxy, image.dataobj)
    return np.asanyarray(proxy.get_unscaled()), float(proxy.slope), float(proxy.inter)
