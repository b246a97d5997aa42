"""Reading gzip files to their end, where the checksum stands: libraries that read images stop before it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

DEFLATE_RATIO = 1032
"""Bytes that one byte of a deflate stream can become at most (zlib's own documentation)."""

PIECE = 1 << 15  # bytes decompressed at once: at most 34 MB afterwards
SURPLUS = 1 << 20
"""Bytes that may follow what is expected, or as many as are expected: 1 MB of gzip can become 1 GB."""
GZIP, ZLIB = 31, 15
"""Values of zlib's `wbits`: whether a header and a CRC-32 (gzip) or an Adler-32 (zlib) surround the stream."""


class DamagedStreamError(ValueError):
    """A compressed file that is cut off or damaged; the message says which."""


def decompress(file: Path, wbits: int = GZIP, start: int = 0, piece_size: int = PIECE) -> Iterator[bytes]:
    """Yield the content of a compressed file piece by piece; every checksum is compared before the last one ends.

    Args:
        file: a gzip file, of one or more members, with zeros behind the last one or without.
        wbits: `GZIP` or `ZLIB`.
        start: where the stream begins in the file, in bytes.
        piece_size: compressed bytes that are read at once.

    Raises:
        DamagedStreamError: it is cut off, a checksum differs, or it is not compressed so.
    """
    decoder, members = None, 0
    with file.open("rb") as stream:
        stream.seek(start)
        while piece := stream.read(piece_size):
            while piece:
                if decoder is None:
                    piece = piece.lstrip(b"\0") if members else piece
                    if not piece:
                        break
                    decoder = zlib.decompressobj(wbits)
                    members += 1
                try:
                    yield decoder.decompress(piece)
                except zlib.error as error:
                    raise DamagedStreamError(f"its compressed data is damaged ({error})") from None
                piece = decoder.unused_data
                if decoder.eof:
                    decoder = None
    if decoder is not None or not members:
        raise DamagedStreamError("its compressed data is cut off")


def read_to_end(content: Iterable[bytes], declared: int, found: int = 0) -> None:
    """Read decompressed pieces until they end; `found` bytes of the declared ones have been read before.

    Raises:
        DamagedStreamError: there are fewer bytes than declared, or far more.
    """
    for piece in content:
        found += len(piece)
        if found > declared + max(declared, SURPLUS):
            raise DamagedStreamError(f"it holds more than twice the {declared:,} bytes that its header declares")
    if found < declared:
        raise DamagedStreamError(f"it is cut off: its header declares {declared:,} bytes, it holds {found:,}")
