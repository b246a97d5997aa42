"""Whether a NIfTI file is complete: SimpleITK fills what a truncated file lacks with zeros, without a word."""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

from ser_nnunet.errors import UserError

HEADER = 348  # bytes of NIfTI-1, which most files are


def check_complete(path: Path) -> None:
    """Raise `UserError` for a `.nii` or `.nii.gz` with fewer bytes than its header says, or damaged compression.

    The size that the last four bytes of a gzip file state is compared first; the whole file is decompressed only where
    it isn't the expected one (several gzip members, or a truncated file).
    """
    packed = path.name.endswith(".gz")
    try:
        with gzip.open(path) if packed else path.open("rb") as stream:
            expected = _expected_bytes(stream.read(HEADER))
            if not packed:
                size = path.stat().st_size
            elif expected is not None and _stated_bytes(path) == expected % 2**32:
                return
            else:
                size = HEADER
                while block := stream.read(1 << 20):
                    size += len(block)
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise UserError(f"{path}: not an image that can be read, perhaps truncated ({error})") from error
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


def _stated_bytes(path: Path) -> int:
    with path.open("rb") as stream:
        stream.seek(-4, 2)
        return int(struct.unpack("<I", stream.read())[0])
