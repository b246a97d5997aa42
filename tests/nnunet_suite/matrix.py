"""The suite's results: data set, trainer and configuration against the steps that nnU-Net's commands are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

STEPS = ("resumed", "trained", "validated", "predicted", "ensembled", "best", "postprocessed")
TAIL = 15
"""Number of lines of a failed step's output that the report repeats."""


class Row(NamedTuple):
    """A trained model of the suite."""

    kind: str
    trainer: str
    configuration: str


@dataclass
class Matrix:
    """The outcome of every step: `ok`, `FAILED`, `skipped` where a step that it needs failed.

    Attributes:
        steps: those that are run.
        failures: (rows, step, message) of the failed ones.
    """

    steps: tuple[str, ...] = STEPS
    cells: dict[tuple[Row, str], str] = field(default_factory=dict)
    failures: list[tuple[list[Row], str, str]] = field(default_factory=list)

    def attempt(
        self, step: str, rows: Iterable[Row], function: Callable[[], object], needs: Iterable[tuple[Row, str]] = ()
    ) -> None:
        """Run a step unless it was declined or one that it needs has failed, and note the outcome for all `rows`."""
        rows = list(rows)
        if step not in self.steps:
            return
        outcome = "skipped"
        if not any(self.cells.get(cell) in ("FAILED", "skipped") for cell in needs):
            try:
                function()
                outcome = "ok"
            except Exception as error:  # whatever a check meets in unexpected files is this step's failure, too
                outcome = "FAILED"
                self.failures.append((rows, step, f"{type(error).__name__}: {error}"))
        self.cells.update({(row, step): outcome for row in rows})
        names = ", ".join(dict.fromkeys(row.configuration for row in rows))
        print(f"{rows[0].kind}, {rows[0].trainer}, {names}: {step} {outcome}", flush=True)

    @property
    def succeeded(self) -> bool:
        """Whether something was run, and everything that was run is well."""
        return bool(self.cells) and set(self.cells.values()) == {"ok"}

    def table(self) -> str:
        """Return the matrix in Markdown."""
        header = ["data set", "trainer", "configuration", *self.steps]
        lines = [header, ["---"] * len(header)]
        for row in dict.fromkeys(row for row, _ in self.cells):
            lines.append([*row, *(self.cells.get((row, step), "") for step in self.steps)])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def report_failures(self) -> str:
        """Return the failed steps, each with the last lines of its output."""
        parts = []
        for rows, step, message in self.failures:
            names = ", ".join(" ".join(row) for row in rows)
            parts.append(f"{names}: {step} FAILED\n{shorten(message)}")
        return "\n".join(parts)


def shorten(message: str) -> str:
    """Return a message's first line, which names the command, and its last ones, where the error is."""
    lines = [line for line in message.replace("\r", "\n").splitlines() if line.strip()]
    shown = lines if len(lines) <= TAIL else [lines[0], "...", *lines[1 - TAIL :]]
    return "\n".join(f"    {line}" for line in shown)
