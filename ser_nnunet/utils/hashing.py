"""SHA-256 of files, texts and voxels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

BLOCK = 1 << 20  # bytes read at once


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def copy_with_sha256(source: Path, target: Path) -> str:
    """Copy a file and return the SHA-256 of the bytes that were copied, in hexadecimal digits."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, target.open("wb") as writing:
        while block := reading.read(BLOCK):
            digest.update(block)
            writing.write(block)
    return digest.hexdigest()


def text_sha256(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8 in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def voxel_hash(array: np.ndarray) -> str:
    """Return the SHA-256 of the shape and the voxels as float32: independent of packing, header and number type.

    Args:
        array: `(z, y, x)`, hashed slice by slice: a whole CT scan as float32 would double the memory.
    """
    digest = hashlib.sha256(repr(array.shape).encode())
    for part in array:
        digest.update(np.ascontiguousarray(part, dtype=np.float32).data)
    return digest.hexdigest()
