"""What `ser-nnunet export --format nnunet` adds to a model's folder, compared with what it would add here.

The files are read and compared, never imported.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, NamedTuple

from ser_nnunet import __version__

UNREADABLE = (OSError, ValueError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged, encrypted or absurd part of a zip raises."""

WRITTEN_BY = re.compile(rb"(?:of|by) ser-nnunet (\d+(?:\.\w{1,10}){1,4})[ ,]")
BEGINNING = 500  # bytes of a Python file, in which it says which version wrote it

Open = Callable[[str], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True)
class KnownParts:
    """What the export adds.

    Attributes:
        code: name of a trainer -> its Python files by their names below the model's folder; `ValueError` for a name
            that no class can have.
        card: name of the model card.
        card_beginning: of every card, up to the policy that forbids a browser to run or load anything.
    """

    code: Callable[[str], dict[str, bytes]]
    card: str
    card_beginning: bytes


class AddedPart(NamedTuple):
    """A finding: its subject, the files that it explains, whether they are as exported, and what was found."""

    subject: str
    files: list[str]
    is_fine: bool
    found: str


def examine_added(names: Sequence[str], open_file: Open, trainer: str, known: KnownParts) -> Iterator[AddedPart]:
    """Yield what the export added to one model's folder; nothing for other people's files.

    Args:
        names: of all files below the folder, as they are spelt there.
        open_file: opens one of them.
        trainer: as the folder's name says.
        known: what the export adds.
    """
    theirs = [name for name in names if name.endswith(".py")]
    try:
        ours = known.code(trainer) if theirs else {}
    except ValueError:
        ours = {}
    if not set(theirs).isdisjoint(ours):
        yield AddedPart("code", theirs, *_compare_code(theirs, ours, open_file))
    if known.card in names:
        is_fine = _beginning(known.card, len(known.card_beginning), open_file) == known.card_beginning
        found = "forbids a browser to run anything in it" if is_fine else "is no model card of this ser-nnunet's"
        more = "" if is_fine else ": a browser may run code in it"
        yield AddedPart("model card", [known.card], is_fine, f"{known.card} {found}{more}")


def _compare_code(theirs: Sequence[str], ours: dict[str, bytes], open_file: Open) -> tuple[bool, str]:
    """Compare all bytes; a file too few or too many is a difference, too."""
    different = [
        name
        for name in sorted({*theirs, *ours})
        if name not in theirs or name not in ours or _beginning(name, len(ours[name]) + 1, open_file) != ours[name]
    ]
    if not different:
        return True, f"that of ser-nnunet {__version__}, which is installed here, for nnU-Net without it"
    found = f"{', '.join(different[:5])} ({len(different)}) differ from ser-nnunet {__version__}"
    beginnings = [_beginning(name, BEGINNING, open_file) or b"" for name in theirs]
    versions = {match[1].decode() for text in beginnings if (match := WRITTEN_BY.search(text))} - {__version__}
    if versions:
        found = f"said to be of ser-nnunet {min(versions)}, here is {__version__}: can't be compared"
    return False, f"{found}. A prediction by nnU-Net would run it"


def _beginning(name: str, count: int, open_file: Open) -> bytes | None:
    """Return the first bytes of a file, or None if it can't be read."""
    try:
        with open_file(name) as stream:
            return stream.read(count)
    except UNREADABLE:
        return None
