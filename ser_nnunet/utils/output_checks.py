"""Whether results can be written where the user wants them, before hours are spent on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from ser_nnunet.errors import UserError


def require_writable_folder(folder: Path) -> None:
    """Raise `UserError` unless a folder exists and takes new files, or can be made; nothing is written."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not nearest.is_dir():
        what = "a link that leads nowhere" if nearest.is_symlink() and not nearest.exists() else "a file"
        raise UserError(f"{folder} can't be the output folder: {nearest} is {what}, expected a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"{folder} can't be the output folder: nothing may be written into {nearest} (permissions)")


def require_writable_file(file: Path) -> None:
    """Raise `UserError` unless a file can be written, or an earlier one replaced; nothing is written."""
    if file.is_dir():
        raise UserError(f"{file} can't be written: it is a folder, expected a file name")
    require_writable_folder(file.parent)


def refuse_foreign_files(outputs: Iterable[tuple[Path, Callable[[Path], bool], str]]) -> None:
    """Refuse files that can't be written, or that exist and are somebody else's.

    Args:
        outputs: each file, whether an existing one may be replaced, and what to say if it may not.

    Raises:
        UserError: names all of them.
    """
    problems, seen = [], set()
    for file, is_own, refusal in outputs:
        place = file.resolve()
        if place in seen:
            problems.append(f"{file} is named for two outputs, of which the second would replace the first")
        seen.add(place)
        try:
            require_writable_file(file)
        except UserError as error:
            problems.append(str(error))
            continue
        if os.path.lexists(file) and not is_own(file):
            problems.append(refusal)
    if problems:
        raise UserError("\n".join(problems))
