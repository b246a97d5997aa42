"""Files that are there completely or not at all: written under a temporary name beside the target, then renamed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UNFINISHED = ".unfinished_"  # before the name, so that the ending, by which libraries choose a format, stays


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or folder, which replaces `target` if the block ends without an error.

    The temporary path lies in the same folder (made if need be) and is removed after an error; what an earlier,
    killed process left there is removed first. A folder cannot replace a folder that exists.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{UNFINISHED}{target.name}")
    remove(unfinished)
    try:
        yield unfinished
        unfinished.replace(target)
    except BaseException:
        remove(unfinished)
        raise


def write_text(target: Path, content: str) -> Path:
    """Write text as UTF-8, completely or not at all; return the path."""
    with replacing(target) as unfinished:
        unfinished.write_text(content, encoding="utf-8")
    return target


def write_json(target: Path, content: Any, indent: int = 1) -> Path:
    """Write readable JSON, completely or not at all; return the path."""
    return write_text(target, json.dumps(content, indent=indent, ensure_ascii=False) + "\n")


def read_json(file: Path) -> Any:
    """Read JSON; raises `OSError` and `ValueError` as `json` does."""
    return json.loads(file.read_text(encoding="utf-8"))


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
