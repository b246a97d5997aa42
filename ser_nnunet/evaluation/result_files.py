"""The files of an evaluation, and whether those in a folder are an earlier evaluation's or somebody else's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ser_nnunet.errors import UserError
from ser_nnunet.utils.files import UNFINISHED, read_json
from ser_nnunet.utils.output_checks import require_writable_file, require_writable_folder

RESULT_FILE = "evaluation.json"
CSV_FILES = {
    "metrics_wide.csv": "cases",
    "metrics_long.csv": "cases",
    "lesions.csv": "lesions",
    "summary.csv": "summary",
    "comparison.csv": "comparison",
}
"""The tables as CSV, and each one's table in the JSON; an evaluation writes those that have rows."""
TABLES = ("summary", "comparison", "cases", "lesions")  # of `Evaluation`, as they are named in the JSON

REPORT_FILE = "report.html"
REPORT_MARK = b'<meta name="generator" content="ser-nnunet report">'
"""Stands at the beginning of every report, and of no other page."""
REPORT_BEGINNING = 300  # bytes that hold the mark


def check_output(folder: Path) -> None:
    """Refuse a folder that can't be written, or whose tables are not those of an earlier evaluation.

    The earlier evaluation.json tells which tables it has written. One that was killed while it wrote has left the
    unfinished JSON, and all tables are its own. A report is replaced with its tables, another report.html is not.

    Raises:
        UserError: names the files.
    """
    require_writable_folder(folder)
    try:
        earlier: Any = read_json(folder / RESULT_FILE)
    except (OSError, ValueError, RecursionError):
        earlier = None
    is_own = isinstance(earlier, dict) and {"about", "settings", *TABLES} <= earlier.keys()
    own = {file for file, table in CSV_FILES.items() if is_own and earlier[table]} | (
        {RESULT_FILE} if is_own else set()
    )
    if (folder / f"{UNFINISHED}{RESULT_FILE}").is_file():
        own = {*CSV_FILES, RESULT_FILE}
    if is_report(folder / REPORT_FILE):
        own.add(REPORT_FILE)
    names = (*CSV_FILES, RESULT_FILE, REPORT_FILE)
    if foreign := [name for name in names if name not in own and os.path.lexists(folder / name)]:
        raise UserError(
            f"{folder} holds {', '.join(foreign)}, which no evaluation has written there: nothing was changed. Choose "
            "another folder with -o, or move these files"
        )


def check_report(file: Path) -> None:
    """Raise `UserError` if a report can't be written to a file, or if another page would be replaced."""
    require_writable_file(file)
    if os.path.lexists(file) and not is_report(file):
        raise UserError(
            f"{file} was not written by `ser-nnunet report`: nothing was changed. Move it, or name another file with -o"
        )


def is_report(file: Path) -> bool:
    """Return whether a file is a page of `ser-nnunet report`."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return REPORT_MARK in stream.read(REPORT_BEGINNING)
