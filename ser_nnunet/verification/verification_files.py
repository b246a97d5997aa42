"""The files of a verification, and whether those that exist are an earlier verification's or somebody else's."""

from __future__ import annotations

from pathlib import Path

from ser_nnunet.utils.files import read_json
from ser_nnunet.utils.output_checks import refuse_foreign_files

PAGE_MARK = b'<meta name="generator" content="ser-nnunet verification">'
"""Stands at the beginning of every page, and of no other one."""
PAGE_BEGINNING = 300  # bytes that hold the mark

JSON_KEYS = {"dataset", "folder", "versions", "errors", "warnings", "findings", "advice"}
"""Every verification's JSON has them, also that of earlier versions."""


def check_outputs(json_file: Path | None, page: Path | None) -> None:
    """Refuse files that can't be written, or that no verification has written; None is not asked for.

    Raises:
        UserError: names the files.
    """
    text = "{0} was not written by `ser-nnunet verify {1}`: nothing was changed. Move it, or name another file with {1}"
    asked = ((json_file, is_verification, "--json"), (page, is_page, "--html"))
    refuse_foreign_files([(file, own, text.format(file, option)) for file, own, option in asked if file is not None])


def is_verification(file: Path) -> bool:
    """Return whether a file is the JSON of a verification."""
    try:
        content = read_json(file)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.keys() >= JSON_KEYS


def is_page(file: Path) -> bool:
    """Return whether a file is the page of a verification."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return PAGE_MARK in stream.read(PAGE_BEGINNING)
