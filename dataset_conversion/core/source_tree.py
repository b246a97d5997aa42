"""The source folder: every file below it that may matter, whatever the folders around it are called."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ser_nnunet.errors import UserError

IMAGE_ENDINGS = (".nii.gz", ".nii", ".mhd", ".mha")
ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


def stem(path: Path) -> str:
    """Return the file name without its image ending (`.nii.gz` counts as one)."""
    return next((path.name[: -len(end)] for end in IMAGE_ENDINGS if path.name.lower().endswith(end)), path.stem)


class Tree:
    """The files below a folder, without what operating systems leave behind (`__MACOSX`, `._*`, `.DS_Store`)."""

    def __init__(self, root: Path, without: Path | None = None) -> None:
        """List the files below `root`, leaving out the folder `without` (nnU-Net's own, if it lies inside).

        Raises `UserError` for a path that is absent, a file or an archive.
        """
        self.root = root
        self._without = without.resolve() if without else None
        _demand_folder(root)
        self.files = sorted(self._walk())

    def _walk(self) -> Iterator[Path]:
        seen: set[Path] = set()
        for folder, subfolders, files in os.walk(self.root, followlinks=True):
            real = Path(folder).resolve()
            if real in seen or real == self._without:
                subfolders.clear()
                continue
            seen.add(real)
            subfolders[:] = sorted(name for name in subfolders if not _is_junk(name))
            yield from (Path(folder, name) for name in files if not _is_junk(name))

    def images(self) -> list[Path]:
        """All image files (`.nii.gz`, `.nii`, `.mhd`, `.mha`)."""
        return [path for path in self.files if path.name.lower().endswith(IMAGE_ENDINGS)]

    def named(self, name: str) -> list[Path]:
        """All files of that name, whatever its case, the one nearest to the root first."""
        found = [path for path in self.files if path.name.lower() == name.lower()]
        return sorted(found, key=lambda path: (len(path.parts), path))

    def short(self, path: Path) -> str:
        """Return the path as it is below the root, for messages and records."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()

    def parts(self, path: Path) -> list[str]:
        """Names of the folders around a file, the nearest first, up to and including the root itself."""
        return [*reversed(Path(self.short(path)).parts[:-1]), self.root.resolve().name]

    def nothing_found(self, expected: str) -> UserError:
        """Return the error for a folder without a single case: what was there, and what to point at."""
        archives = [self.short(path) for path in self.files if path.name.lower().endswith(ARCHIVE_ENDINGS)]
        if archives:
            return UserError(f"{self.root} holds archives ({', '.join(archives[:5])}): unpack them first.")
        held = f"{len(self.files)} files, such as {self.short(self.files[0])}" if self.files else "no files"
        return UserError(
            f"no case found below {self.root} (it holds {held}).\n"
            f"Point at the folder that holds, at any depth, files like {expected}"
        )


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _demand_folder(root: Path) -> None:
    if root.is_file():
        kind = "an archive" if root.name.lower().endswith(ARCHIVE_ENDINGS) else "a file"
        raise UserError(f"{root} is {kind}: unpack the download and point at the folder it gives.")
    if not root.is_dir():
        raise UserError(f"{root} does not exist: point at the folder of the unpacked download.")
