"""The door for images: what must hold of a file before a library decodes it.

Libraries that read images wait for pipes, allocate what a header of 300 bytes declares, and fill what a truncated or
damaged file lacks with zeros. Every command looks at a file with these functions first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from ser_nnunet.utils import metaimage, nifti_header
from ser_nnunet.utils.memory import available_memory
from ser_nnunet.utils.regular_files import regular_size
from ser_nnunet.utils.whole_gzip import DEFLATE_RATIO, ZLIB, decompress, read_to_end

COPIES = 2
"""How often the voxels of an image are in memory while it is read: decoded by a library, and as an array."""

VOXELS_PER_BYTE = 8
"""Formats such as PNG and TIFF can store 8 binary voxels in a byte."""


class ImageFileError(RuntimeError):
    """A file that is not read, because it is no whole image; the message says why, without the file's name.

    A `RuntimeError`, as SimpleITK raises for files that it can't read.
    """


def check_image_header(file: Path) -> None:
    """Refuse what is no regular file, or cannot hold or must not become what its header declares; reads no voxels.

    Raises:
        ImageFileError: with the reason.
    """
    _check(file, with_voxels=False)


def check_image(file: Path) -> None:
    """Refuse what `check_image_header` refuses, and compressed NIfTI and MetaImage files that are cut off or damaged.

    Their streams are read to the end, where their checksums stand.

    Raises:
        ImageFileError: with the reason.
    """
    _check(file, with_voxels=True)


def _check(file: Path, with_voxels: bool) -> None:
    try:
        str(file).encode()
        size = regular_size(file)
        if size == 0:
            raise ValueError("it is empty")
        if nifti_header.is_nifti(file):
            _check_nifti(file, size, with_voxels)
        elif metaimage.is_metaimage(file):
            _check_metaimage(file, with_voxels)
        else:
            _check_other(file, size)
    except UnicodeEncodeError:
        raise ImageFileError("its path is not in UTF-8, which libraries expect: rename it") from None
    except OSError as error:
        raise ImageFileError(error.strerror or str(error)) from None
    except ValueError as error:
        raise ImageFileError(str(error)) from None


def _check_nifti(file: Path, size: int, with_voxels: bool) -> None:
    header = nifti_header.read_header(file)
    _check_size(header.shape, header.size, size, nifti_header.is_compressed(file))
    if with_voxels and nifti_header.is_compressed(file):
        read_to_end(decompress(file), header.size)


def _check_metaimage(file: Path, with_voxels: bool) -> None:
    header = metaimage.read_header(file)
    try:
        size = regular_size(header.voxels)
    except FileNotFoundError:
        raise ValueError(f"its voxels are in {header.voxels.name}, which is not beside it") from None
    start = header.start or 0
    _check_size(header.shape, header.size, size - start, header.compressed)
    if with_voxels and header.compressed:
        read_to_end(decompress(header.voxels, ZLIB, start), header.size)


def _check_other(file: Path, size: int) -> None:
    """Check the size that SimpleITK reads from the header of another format, most of which can be compressed."""
    import SimpleITK as sitk  # exported models check NIfTI files without it

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    shape = reader.GetSize()
    _check_size(shape, math.prod(shape), size * VOXELS_PER_BYTE, compressed=True)


def _check_size(shape: Iterable[int], declared: int, stored: int, compressed: bool) -> None:
    """Compare the bytes that a header declares with those that the file can hold, and with free memory."""
    edges = " x ".join(map(str, shape))
    if declared > stored * (DEFLATE_RATIO if compressed else 1):
        raise ValueError(
            f"its header declares {edges} voxels ({declared:,} bytes), which a file of its size can't hold"
        )
    free = available_memory()
    if free is not None and declared * COPIES > free:
        raise ValueError(
            f"its header declares {edges} voxels: reading them takes {declared * COPIES / 2**30:.1f} GiB of memory, "
            f"{free / 2**30:.1f} GiB are free"
        )
