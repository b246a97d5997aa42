"""Every benchmark's output: a CSV with all numbers and a Markdown page to read, both with their provenance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ser_nnunet.utils.files import write_text

IN_EVERY_ROW = ("date", "ser-nnunet", "torch", "nnunetv2", "python", "cpu", "cores", "gpu", "device")
NOT_DEFINED = "not defined"
"""Stands for a number that is a ratio to 0."""

NOT_MEASURED = "not measured"
"""Stands for a number that a benchmark was not asked for, or leaves out."""


def write_results(
    folder: Path,
    name: str,
    table: pd.DataFrame,
    shown: Sequence[tuple[str, pd.DataFrame]],
    notes: Sequence[str],
    about: dict[str, str],
) -> list[Path]:
    """Write `name.csv` and `name.md`; both replace an earlier run's only when they are complete.

    Args:
        folder: made if need be.
        name: of the files.
        table: all numbers, one row per measurement; versions and machine are added to every row.
        shown: headings and formatted tables for the Markdown file.
        notes: sentences below the tables: how it was measured.
        about: what `collect_provenance` returned.
    """
    stamped = table.assign(**{key: about[key] for key in IN_EVERY_ROW if key in about})
    csv = stamped.to_csv(index=False)
    page = format_page(name, shown, notes, about)
    return [write_text(folder / f"{name}.csv", csv), write_text(folder / f"{name}.md", page)]


def format_page(
    name: str, shown: Sequence[tuple[str, pd.DataFrame]], notes: Sequence[str], about: dict[str, str]
) -> str:
    """Return the Markdown page: command, tables, notes, provenance."""
    parts = [f"# ser-nnunet benchmark {name}", f"```\n{about['command']}\n```"]
    for heading, table in shown:
        parts += [f"## {heading}", format_markdown_table(table)]
    parts += ["\n".join(f"* {note}" for note in notes)] if notes else []
    rest = ", ".join(f"{key} {value}" for key, value in about.items() if key not in ("command", "date"))
    return "\n\n".join([*parts, f"{about['date']}: {rest}"]) + "\n"


def format_markdown_table(table: pd.DataFrame) -> str:
    """Return a table of text as GitHub's Markdown: the first column to the left, the others to the right."""
    columns = [str(column) for column in table.columns]
    rows = [[str(value).replace("|", "\\|") for value in row] for row in table.itertuples(index=False)]
    ruler = ["---"] + ["---:"] * (len(columns) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [columns, ruler, *rows])


def format_number(value: float, digits: int = 3, absent: str = NOT_DEFINED) -> str:
    """Return a number with `digits` significant digits (`12300`, `0.0172`), and `absent` where there is none.

    Differences of equal means that are not 0 for rounding errors alone (below 1e-12) are shown as `0`.
    """
    if value is None or not math.isfinite(value):
        return absent
    if abs(value) < 1e-12:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def format_count(value: float) -> str:
    """Return a count of iterations (`1,250`), or that they did not suffice."""
    return f"{value:,.0f}" if math.isfinite(value) else "not reached"


def format_interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """Return `0.21 (0.19 to 0.24)`."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return format_number(value, digits)
    return f"{format_number(value, digits)} ({format_number(low, digits)} to {format_number(high, digits)})"


def format_intervals(table: pd.DataFrame, columns: list[str], digits: int = 3) -> list[str]:
    """Return `format_interval` of every row; the columns are value, low, high."""
    return [format_interval(value, low, high, digits) for value, low, high in table[columns].to_numpy(float)]
