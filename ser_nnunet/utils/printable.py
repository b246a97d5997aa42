"""Names from elsewhere as text that a terminal, a table and a page can show."""

from __future__ import annotations

import re

UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control codes, which a terminal obeys; marks that reverse the order of letters; bytes that are no UTF-8."""

FORMULA = re.compile(r"[=+\-@\t\r]|(?:NULL|NA|N/A|NaN|None|nan|null|<NA>|n/a)$")
"""What a spreadsheet computes, and what pandas and R read as a missing value, at the start of a cell."""


def printable(text: str) -> str:
    """Return a text with control codes and undecodable bytes written out, such as `\\x1b`; line ends and tabs stay."""
    return UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which gets an s unless there is one: `1 case`, `2 cases`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def csv_cell(text: str) -> str:
    """Return a text for a cell of a CSV file: an apostrophe before what would not be read as text."""
    shown = printable(text)
    return f"'{shown}" if FORMULA.match(shown) else shown
