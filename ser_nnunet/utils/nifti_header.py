"""What the header of a NIfTI file declares, read without a library, because exported models bring none for NIfTI."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from ser_nnunet.utils.whole_gzip import decompress

ByteOrder = Literal["<", ">"]

NIFTI_ENDINGS = (".nii", ".nii.gz")
LAYOUTS = {
    348: np.dtype(
        {"names": ["dim", "type", "start"], "formats": ["8i2", "i2", "f4"], "offsets": [40, 70, 108], "itemsize": 348}
    ),
    540: np.dtype(
        {"names": ["dim", "type", "start"], "formats": ["8i8", "i2", "i8"], "offsets": [16, 12, 168], "itemsize": 540}
    ),
}
"""NIfTI-1 and NIfTI-2, by the size of the header in bytes, which is its first number."""
TYPES = {
    **{2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"},
    **{32: "c8", 1792: "c16", 2048: "V32"},  # complex numbers
    **{128: "V3", 2304: "V4", 1536: "V16"},  # colours, and floating-point numbers of 16 bytes
}
"""NumPy's type by NIfTI's code (nifti1.h)."""
COMPLEX = (32, 1792, 2048)


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
        start = b"".join(islice(decompress(file, piece_size=1 << 12), 1))[: max(LAYOUTS)]
    else:
        with file.open("rb") as stream:
            start = stream.read(max(LAYOUTS))
    size, order = find_version(start)
    header = np.frombuffer(start, LAYOUTS[size].newbyteorder(order), 1)[0]
    axes, code, offset = int(header["dim"][0]), int(header["type"]), float(header["start"])
    if code not in TYPES:
        raise ValueError(f"its header is damaged (type {code} of the voxels)")
    shape = tuple(int(edge) for edge in header["dim"][1 : 1 + max(0, axes)])
    dtype = np.dtype(TYPES[code]).newbyteorder(order)
    if not 1 <= axes <= 7 or min(shape) < 1 or not 0 <= offset < 2**62:
        raise ValueError(f"its header declares {axes} axes, the shape {shape} and {offset:g} bytes before the voxels")
    if code in COMPLEX:
        raise ValueError("its voxels are complex numbers, expected real ones")
    return NiftiHeader(shape, dtype, int(offset))


def find_version(start: bytes) -> tuple[int, ByteOrder]:
    """Return the size of a header and its byte order, `<` or `>`; raises `ValueError` where none begins here."""
    orders: tuple[ByteOrder, ...] = ("<", ">")
    for order in orders:
        size = int(np.frombuffer(start[:4].ljust(4, b"\0"), f"{order}i4")[0])
        if size in LAYOUTS and len(start) >= size:
            return size, order
    raise ValueError("it has no NIfTI header")
