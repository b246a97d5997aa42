"""Writing files and folders atomically: under a temporary name beside the target, then renamed."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ser_nnunet.utils.regular_files import read_text

LARGEST_JSON = 1 << 30
"""Bytes; an evaluation of 10,000 cases with all metrics has about 100 MB."""

UNFINISHED = ".unfinished_"  # a prefix: libraries choose a file's format by its ending


FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a write, which don't name the file by themselves."""


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or folder, which replaces `target` if the block ends without an error.

    The temporary path lies in the target's folder (created if missing) and is removed after an error; what a killed
    process left there is removed first. It is the same for every process, so only one may write a target at a time.

    Raises:
        OSError: `target` is a folder with content (remove it first), or (on Windows) a file that is open.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{UNFINISHED}{target.name}")
    remove(unfinished)
    try:
        yield unfinished
        unfinished.replace(target)
    except BaseException as error:
        remove(unfinished)
        if isinstance(error, OSError) and error.filename is None and error.errno in FULL:
            error.filename = str(target)
        raise


def write_text(target: Path, content: str) -> Path:
    """Write text atomically as UTF-8, with the same line ends on every system; return the path.

    A byte that is no UTF-8, of a file's name, becomes an escape such as `\\udcff`, which JSON reads as that byte.
    """
    with replacing(target) as unfinished:
        unfinished.write_text(content, encoding="utf-8", errors="backslashreplace", newline="\n")
    return target


def write_json(target: Path, content: Any, indent: int = 1) -> Path:
    """Write indented JSON atomically; return the path."""
    return write_text(target, json.dumps(content, indent=indent, ensure_ascii=False) + "\n")


def read_json(file: Path) -> Any:
    """Read JSON.

    Raises:
        OSError: it can't be read, is no regular file, or larger than `LARGEST_JSON`.
        ValueError: it is no JSON in UTF-8, or nested too deeply.
    """
    return parse_json(read_text(file, LARGEST_JSON))


def parse_json(content: str | bytes) -> Any:
    """Return the content of a JSON text; `ValueError` if it is none, or nested too deeply."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def remove(path: Path) -> None:
    """Remove a file, a link (not its target) or a whole folder; do nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
