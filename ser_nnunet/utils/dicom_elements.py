"""The lengths that a DICOM file declares, compared with its size before GDCM reserves memory for them.

Layout: DICOM PS3.5, chapter 7 (elements) and PS3.10, chapter 7 (the group 0002, always explicit).
"""

from __future__ import annotations

import struct
from io import BufferedReader
from pathlib import Path

PREAMBLE = 128  # bytes before "DICM"
LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
"""Value representations whose length has 32 bits."""
SHORT = (
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN"),
    *(b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
)
META, ITEM, PIXEL_DATA = 0x0002, 0xFFFE, (0x7FE0, 0x0010)
TRANSFER_SYNTAX = (0x0002, 0x0010)
IMPLICIT, BIG_ENDIAN, DEFLATED = (f"1.2.840.10008.1.2{ending}".encode() for ending in ("", ".2", ".1.99"))
FIRST_ITEM = struct.pack("<HH", ITEM, 0xE000)  # begins the value of a sequence
UNDEFINED = 0xFFFFFFFF
MOST_ELEMENTS = 100_000


def find_overlong_element(file: Path) -> str | None:
    """Return a sentence about the first element that would end behind the file, or that has no known type.

    Elements are followed to the voxels, into sequences too. None: there is no such element, the file is no DICOM file,
    or one whose elements can't be followed (big endian, deflated).
    """
    with file.open("rb") as stream:
        stream.seek(PREAMBLE)
        if stream.read(4) != b"DICM":
            return None
        if struct.unpack("<H", stream.peek(2)[:2].ljust(2, b"\0"))[0] != META:
            return "it does not begin with the group 0002"
        return _follow_elements(stream, file.stat().st_size)


def _follow_elements(stream: BufferedReader, size: int) -> str | None:
    """Read elements from here on, as `find_overlong_element` describes; `size` is the file's."""
    syntax, is_first = b"", True  # the first element after the group 0002
    for _ in range(MOST_ELEMENTS):
        start, head = stream.tell(), stream.read(8)
        tag = struct.unpack("<HH", head[:4].ljust(4, b"\0"))
        if len(head) < 8 or (tag[0] != META and syntax in (BIG_ENDIAN, DEFLATED)):
            return None
        kind, length = _read_length(stream, head, tag[0], syntax)
        if kind is None and tag[0] != META and is_first:  # not as it says: GDCM takes it for implicit, too
            syntax = IMPLICIT
            kind, length = _read_length(stream, head, tag[0], syntax)
        is_first = tag[0] == META
        if kind is None:
            return f"the element at byte {start} is of no known type"
        if length != UNDEFINED and stream.tell() + length > size:
            return f"the element at byte {start} has {length} bytes, more than the file"
        if tag == PIXEL_DATA or (length == UNDEFINED and kind == b"UN"):
            return None
        is_sequence = kind == b"SQ" or tag[0] == ITEM or (not kind and stream.peek(4)[:4] == FIRST_ITEM)
        if tag == TRANSFER_SYNTAX:
            syntax = stream.read(length).strip(b"\0 ")
        elif length != UNDEFINED and not is_sequence:
            stream.seek(length, 1)
    return None


def _read_length(stream: BufferedReader, head: bytes, group: int, syntax: bytes) -> tuple[bytes | None, int]:
    """Return an element's value representation (None: unknown; empty: not stated) and length."""
    kind = head[4:6]
    if group == ITEM or (group != META and syntax == IMPLICIT):
        return b"", struct.unpack("<L", head[4:])[0]
    if kind in LONG:
        return kind, struct.unpack("<L", stream.read(4).ljust(4, b"\0"))[0]
    return (kind if kind in SHORT else None), struct.unpack("<H", head[6:])[0]
