"""Every benchmark's output: a CSV for machines, a Markdown table for people, both with their provenance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

IN_EVERY_ROW = ("date", "ser-nnunet", "torch", "nnunetv2", "python", "cpu", "cores", "gpu", "device")


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
        about: what `provenance` returned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamped = table.assign(**{key: about[key] for key in IN_EVERY_ROW if key in about})
    csv = stamped.to_csv(index=False)
    return [_replace(folder / f"{name}.csv", csv), _replace(folder / f"{name}.md", markdown(name, shown, notes, about))]


def markdown(name: str, shown: Sequence[tuple[str, pd.DataFrame]], notes: Sequence[str], about: dict[str, str]) -> str:
    """Return the Markdown page: command, tables, notes, provenance."""
    parts = [f"# ser-nnunet benchmark {name}", f"```\n{about['command']}\n```"]
    for heading, table in shown:
        parts += [f"## {heading}", markdown_table(table)]
    parts += ["\n".join(f"* {note}" for note in notes)] if notes else []
    rest = ", ".join(f"{key} {value}" for key, value in about.items() if key not in ("command", "date"))
    return "\n\n".join([*parts, f"{about['date']}: {rest}"]) + "\n"


def markdown_table(table: pd.DataFrame) -> str:
    """Return a table of words as GitHub's Markdown: the first column to the left, the others to the right."""
    columns = [str(column) for column in table.columns]
    rows = [[str(value).replace("|", "\\|") for value in row] for row in table.itertuples(index=False)]
    ruler = ["---"] + ["---:"] * (len(columns) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [columns, ruler, *rows])


def words(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits (`12300`, `0.0172`); a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def whole(value: float) -> str:
    """Return a count (`1,250`), or a dash where there is none."""
    return f"{value:,.0f}" if math.isfinite(value) else "-"


def span(value: float, low: float, high: float, digits: int = 3) -> str:
    """Return `0.21 (0.19 to 0.24)`."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return words(value, digits)
    return f"{words(value, digits)} ({words(low, digits)} to {words(high, digits)})"


def spans(table: pd.DataFrame, columns: list[str], digits: int = 3) -> list[str]:
    """Return `span` of every row; the columns are value, low, high."""
    return [span(value, low, high, digits) for value, low, high in table[columns].to_numpy(float)]


def _replace(file: Path, content: str) -> Path:
    unfinished = file.with_name(f"{file.name}.unfinished")
    unfinished.write_text(content, encoding="utf-8")
    return unfinished.replace(file)
