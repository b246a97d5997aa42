"""Whether a NIfTI file is complete: SimpleITK fills what a truncated file lacks with zeros, without a word."""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

from ser_nnunet.errors import UserError

HEADER = 348  # bytes of NIfTI-1, which most files are
BLOCK = 1 << 20  # decompressed bytes that are held at once


def check_complete(path: Path) -> None:
    """Raise `UserError` for a `.nii` or `.nii.gz` with fewer bytes than its header says, or damaged compression.

    A gzip file is read to its end, where its checksum stands: SimpleITK stops before it and takes damaged voxels.
    """
    packed = path.name.endswith(".gz")
    try:
        with gzip.open(path) if packed else path.open("rb") as stream:
            header = stream.read(HEADER)
            size = len(header) + sum(map(len, iter(lambda: stream.read(BLOCK), b""))) if packed else path.stat().st_size
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise UserError(f"{path}: not an image that can be read, perhaps truncated ({error})") from error
    expected = _expected_bytes(header)
    if expected is not None and size < expected:
        raise UserError(f"{path}: truncated, {size} bytes found, its header announces {expected}")


def _expected_bytes(header: bytes) -> int | None:
    """Return what a NIfTI-1 header announces, itself included; None for anything else."""
    for order in "<>":
        if len(header) == HEADER and struct.unpack_from(order + "i", header) == (HEADER,):
            dimensions = struct.unpack_from(order + "8h", header, 40)
            (bits,) = struct.unpack_from(order + "h", header, 72)
            (offset,) = struct.unpack_from(order + "f", header, 108)
            return int(offset) + int(prod(dimensions[1 : dimensions[0] + 1])) * int(bits) // 8
    return None
