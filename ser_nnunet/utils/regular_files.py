"""Opening files whose names others chose: regular files alone, so that no pipe or device is waited for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class NotRegularError(OSError):
    """A path that leads to no regular file; the message says to what, without the path."""


def regular_size(file: Path) -> int:
    """Return the size of a regular file, or of the one that a link leads to, in bytes.

    Raises:
        NotRegularError: it is a folder, a pipe, a device or a socket. Opening a pipe waits for its other end, and a
            device may never end.
        OSError: there is no such file, or it may not be looked at.
    """
    found = os.stat(file)  # noqa: PTH116 (follows links, as Path.stat does, and takes names in any encoding)
    if not stat.S_ISREG(found.st_mode):
        raise NotRegularError(f"it is {KINDS.get(stat.S_IFMT(found.st_mode), 'no file')}, expected a file")
    return found.st_size


def read_text(file: Path, limit: int, encoding: str = "utf-8") -> str:
    """Return the text of a regular file of at most `limit` bytes.

    Raises:
        OSError: it can't be read, is no regular file (`NotRegularError`), or is larger.
        UnicodeDecodeError: it is no text in this encoding.
    """
    size = regular_size(file)
    if size > limit:
        raise OSError(f"it has {size / 1e6:.0f} MB, expected at most {limit / 1e6:.0f} MB")
    return file.read_text(encoding=encoding)
