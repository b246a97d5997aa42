"""MetaImage files (`.mha`, `.mhd`): what their header declares, and which file holds the voxels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

METAIMAGE_ENDINGS = (".mha", ".mhd")
LONGEST_HEADER = 1 << 16  # bytes
BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4}
BYTES |= {"LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
"""Bytes per value by MetaIO's name without `MET_`."""


@dataclass(frozen=True)
class MetaImageHeader:
    """What a MetaImage header declares.

    Attributes:
        shape: along the axes x, y, z and further ones.
        voxel_bytes: of one voxel, all its values.
        compressed: whether the voxels are a zlib stream.
        voxels: the file that holds them.
        start: where they begin in it; None where they end with the file.
    """

    shape: tuple[int, ...]
    voxel_bytes: int
    compressed: bool
    voxels: Path
    start: int | None

    @property
    def size(self) -> int:
        """Bytes of the decompressed voxels."""
        return math.prod(self.shape) * self.voxel_bytes


def is_metaimage(file: Path) -> bool:
    """Return whether a file's name ends as that of a MetaImage header."""
    return file.name.lower().endswith(METAIMAGE_ENDINGS)


def read_header(file: Path) -> MetaImageHeader:
    """Read the header.

    Raises:
        ValueError: it is none, or declares what is impossible, or a file of voxels that is not beside it.
        OSError: the file can't be read.
    """
    fields, end = _read_fields(file)
    name = fields.get("ElementDataFile", "")
    name = "LOCAL" if name.upper() == "LOCAL" else name
    if name != "LOCAL" and (not name or name == "LIST" or PureWindowsPath(name).name != name or name in (".", "..")):
        raise ValueError(f"its voxels are in {name or 'no file'}, expected one file beside it (ElementDataFile)")
    try:
        shape = tuple(int(edge) for edge in fields["DimSize"].split())
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        element = BYTES[fields["ElementType"].removeprefix("MET_")]
        skipped = int(fields.get("HeaderSize", "0"))
        if fields.get("BinaryData", "True").lower() in ("false", "0"):  # numbers as text: a byte each at least
            element = 1
    except KeyError as error:
        raise ValueError(f"its header lacks a usable {error}: is it a MetaImage?") from None
    if not shape or min(shape) < 1 or channels < 1:
        raise ValueError(f"its header declares the shape {shape} and {channels} values per voxel")
    start = (end if name == "LOCAL" else 0) if skipped == 0 else skipped if skipped > 0 else None
    compressed = fields.get("CompressedData", "False").lower() in ("true", "1")
    return MetaImageHeader(
        shape, channels * element, compressed, file if name == "LOCAL" else file.with_name(name), start
    )


def _read_fields(file: Path) -> tuple[dict[str, str], int]:
    """Return the fields up to `ElementDataFile`, which is the last one, and the number of bytes until there."""
    fields: dict[str, str] = {}
    with file.open("rb") as stream:
        start = stream.read(LONGEST_HEADER)
    end = 0
    while "ElementDataFile" not in fields:
        stop = start.find(b"\n", end)
        line = start[end:] if stop < 0 else start[end:stop]
        key, separator, value = line.decode("utf-8", "surrogateescape").partition("=")
        if not separator and (line.strip() or stop < 0):
            raise ValueError("it has no MetaImage header")
        fields[key.strip()] = value.strip()
        end = len(start) if stop < 0 else stop + 1
    return fields, end
