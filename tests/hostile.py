"""Hostile and clumsy files, by name: each function puts one in the place of a good file."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk


def nifti_header(edge: int, dtype: int = 16, bits: int = 32) -> bytes:
    """A NIfTI header of `edge` voxels along each axis, and nothing behind it."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, edge, edge, edge, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, dtype, bits)
    struct.pack_into("<8f", header, 76, *[1.0] * 8)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    return bytes(header)


def replace_content(content: bytes):
    return lambda file: file.write_bytes(content)


def change_content(change):
    return lambda file: file.write_bytes(change(bytearray(file.read_bytes())))


def flip(content: bytearray) -> bytearray:
    content[len(content) // 2] ^= 8
    return content


def instead(make):
    """Remove the file, then make something else in its place."""

    def put(file: Path) -> None:
        file.unlink()
        make(file)

    return put


def fill_with_nan(file: Path) -> None:
    image = sitk.Cast(sitk.ReadImage(str(file)), sitk.sitkFloat32)
    array = sitk.GetArrayFromImage(image)
    array[0, 0, 0] = np.nan
    changed = sitk.GetImageFromArray(array)
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(file))


def patch_header(offset: int, form: str, *values):
    def patch(file: Path) -> None:
        content = bytearray(gzip.decompress(file.read_bytes()))
        struct.pack_into(form, content, offset, *values)
        file.write_bytes(gzip.compress(bytes(content)))

    return patch


BOMB = gzip.compress(nifti_header(100) + bytes(60 << 20), compresslevel=9)

IMAGES = {
    "empty": replace_content(b""),
    "one byte": replace_content(b"\x1f"),
    "a web page": replace_content(b"<!DOCTYPE html><html>404</html>"),
    "random bytes": replace_content(np.random.default_rng(0).bytes(5000)),
    "gzip of nothing": replace_content(gzip.compress(b"")),
    "gzip of random bytes": replace_content(gzip.compress(np.random.default_rng(1).bytes(5000))),
    "cut in the middle": change_content(lambda content: content[: len(content) // 2]),
    "lacks its last byte": change_content(lambda content: content[:-1]),
    "lacks its checksum": change_content(lambda content: content[:-8]),
    "a flipped bit": change_content(flip),
    "garbage behind the stream": change_content(lambda content: content + b"garbage"),
    "declares 1000^3": replace_content(gzip.compress(nifti_header(1000))),
    "declares 2000^3": replace_content(gzip.compress(nifti_header(2000))),
    "declares 30000^3": replace_content(gzip.compress(nifti_header(30000))),
    "decompresses to far more": replace_content(BOMB),
    "header alone": replace_content(gzip.compress(nifti_header(5))),
    "not compressed": replace_content(nifti_header(5) + bytes(500)),
    "negative edge": patch_header(42, "<h", -5),
    "no axes": patch_header(40, "<h", 0),
    "nine axes": patch_header(40, "<h", 9),
    "unknown type": patch_header(70, "<h", 4242),
    "voxels of two numbers": patch_header(70, "<2h", 32, 64),
    "voxels before the header": patch_header(108, "<f", -400.0),
    "voxels behind the end": patch_header(108, "<f", 1e9),
    "voxels at NaN": patch_header(108, "<f", float("nan")),
    "a NaN": fill_with_nan,
    "a pipe": instead(os.mkfifo),
    "an endless device": instead(lambda file: file.symlink_to("/dev/zero")),
    "a folder": instead(Path.mkdir),
    "a link to nothing": instead(lambda file: file.symlink_to("absent")),
    "a link to itself": instead(lambda file: file.symlink_to(file.name)),
}
"""In the place of an image or a segmentation as `.nii.gz`."""

JSONS = {
    "empty": replace_content(b""),
    "no JSON": replace_content(b"{"),
    "no UTF-8": replace_content(b'{"name": "\xff"}'),
    "a list": replace_content(b"[]"),
    "null": replace_content(b"null"),
    "a number": replace_content(b"1e999"),
    "an empty object": replace_content(b"{}"),
    "nested 10,000 deep": replace_content(b"[" * 10_000 + b"]" * 10_000),
    "nested 100,000 deep": replace_content(b'{"labels":' * 100_000 + b"1" + b"}" * 100_000),
    "a giant number": replace_content(b'{"labels": ' + b"9" * 10_000 + b"}"),
    "a pipe": instead(os.mkfifo),
    "an endless device": instead(lambda file: file.symlink_to("/dev/zero")),
    "a folder": instead(Path.mkdir),
    "a link to itself": instead(lambda file: file.symlink_to(file.name)),
}
"""In the place of a JSON file."""
