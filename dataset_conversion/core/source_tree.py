"""The files below the source folder, at any depth."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from ser_nnunet.errors import UserError

IMAGE_ENDINGS = (".nii.gz", ".nii", ".mhd", ".mha")
MOST_FILES = 1_000_000
"""Far more than any of the downloads has; a whole disk behind a link would be searched for long."""

ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


def image_stem(path: Path) -> str:
    """Return the file name without its image ending (`.nii.gz` counts as one)."""
    return next((path.name[: -len(end)] for end in IMAGE_ENDINGS if path.name.lower().endswith(end)), path.stem)


class SourceTree:
    """The files below a folder, without what operating systems leave behind (`__MACOSX`, `._*`, `.DS_Store`)."""

    def __init__(self, root: Path, without: Iterable[Path] = ()) -> None:
        """List the files below `root`, leaving out the folders `without` (such as nnU-Net's own, if it lies inside).

        Raises `UserError` for a path that is absent, a file or an archive.
        """
        if root.is_file():
            kind = "an archive" if root.name.lower().endswith(ARCHIVE_ENDINGS) else "a file"
            raise UserError(f"{root} is {kind}: unpack the download and give the unpacked folder")
        if not root.is_dir():
            raise UserError(f"{root} does not exist: give the folder of the unpacked download")
        self.root = root
        self.files = sorted(walk(root, {folder.resolve() for folder in without}))

    def images(self) -> list[Path]:
        """Return all image files (`.nii.gz`, `.nii`, `.mhd`, `.mha`)."""
        return [path for path in self.files if path.name.lower().endswith(IMAGE_ENDINGS)]

    def find_files(self, name: str) -> list[Path]:
        """Return all files of that name, in upper or lower case, the one nearest to the root first."""
        found = [path for path in self.files if path.name.lower() == name.lower()]
        return sorted(found, key=lambda path: (len(path.parts), path))

    def shorten(self, path: Path) -> str:
        """Return the path relative to the root, for messages and records."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()

    def folder_names(self, path: Path) -> list[str]:
        """Return the names of the folders around a file, the nearest first, up to and including the root itself."""
        return [*reversed(Path(self.shorten(path)).parts[:-1]), self.root.resolve().name]

    def no_cases_error(self, expected: str) -> UserError:
        """Return the error for a folder without a single case: what it holds, and which files were `expected`."""
        archives = [self.shorten(path) for path in self.files if path.name.lower().endswith(ARCHIVE_ENDINGS)]
        if archives:
            return UserError(f"{self.root} holds archives ({', '.join(archives[:5])}): unpack them first")
        held = f"{len(self.files)} files, such as {self.shorten(self.files[0])}" if self.files else "no files"
        return UserError(
            f"no case found below {self.root} (it holds {held}).\n"
            f"SOURCE must be a folder that holds, at any depth, files like {expected}"
        )


def walk(root: Path, without: Collection[Path] = ()) -> Iterator[Path]:
    """Yield the files below a folder, without junk; links to folders are followed, each folder is visited once.

    Raises:
        UserError: a link leads to a folder around `root`, or there are more than `MOST_FILES` files; after the last
            file, with all folders that can't be read: their cases would be missing.
    """
    visited: set[Path] = set()
    top, count = root.resolve(), 0
    unreadable: list[OSError] = []
    for folder, subfolders, files in os.walk(root, onerror=unreadable.append, followlinks=True):
        real = Path(folder).resolve()
        if real in visited or real in without:
            subfolders.clear()
            continue
        if real != top and top.is_relative_to(real):
            raise UserError(f"{folder} is a link to {real}, which contains {root} itself: remove the link")
        count += len(files)
        if count > MOST_FILES:
            raise UserError(f"{root} holds more than {MOST_FILES:,} files: give the folder of the download")
        visited.add(real)
        subfolders[:] = sorted(name for name in subfolders if not _is_junk(name))
        yield from (Path(folder, name) for name in files if not _is_junk(name))
    if unreadable:
        folders = "\n".join(f"  {error.filename} ({error.strerror})" for error in unreadable)
        raise UserError(f"folders below {root} can't be read, what they hold would be missing:\n{folders}")


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
