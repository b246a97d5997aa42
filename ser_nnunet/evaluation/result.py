"""An evaluation's result: its tables, and the files they are written to."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.definitions import Metric
from ser_nnunet.evaluation.evaluation_json import EvaluationJson, find_contradictions
from ser_nnunet.evaluation.result_files import CSV_FILES, REPORT_FILE, RESULT_FILE, TABLES, check_output
from ser_nnunet.evaluation.settings import Settings
from ser_nnunet.evaluation.statistics import summarise_class_means
from ser_nnunet.utils.files import remove, replacing, write_json
from ser_nnunet.utils.json_files import read_validated, validate
from ser_nnunet.utils.printable import csv_cell, printable

KEYS = ["method", "case", "patient", "class"]
NAMES = ["method", "other", "better", "case", "patient", "class"]
"""Columns of the tables whose words come from the user's files."""


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        cases: one row per method, case and class (`KEYS`, with the case's patient), then one column per metric; NaN
            where undefined.
        lesions: one row per lesion; empty if lesions weren't asked for.
        summary: one row per method, class and metric: n, patients, mean, SD, median, quartiles, interval.
        comparison: one row per other method, class and metric: paired test against the first method.
        settings: the choices.
        about: folders, methods, classes, patients, versions and rules (see `evaluation_provenance.py`).
    """

    cases: pd.DataFrame
    lesions: pd.DataFrame
    summary: pd.DataFrame
    comparison: pd.DataFrame
    settings: Settings
    about: dict[str, Any]

    @property
    def metrics(self) -> list[Metric]:
        """The metrics of `cases`, in their order."""
        return [metric for metric in self.settings.metrics if metric.name in self.cases]

    def headline(self, class_name: str) -> list[Metric]:
        """The metrics of a class that the short tables show: lesion metrics if its lesions are counted."""
        return [metric for metric in self.settings.metrics_of(class_name) if metric.headline]

    @property
    def empty_predictions(self) -> list[tuple[str, str, list[str]]]:
        """Method, class and cases in which the method has predicted nothing although the reference has the class."""
        rows = self.cases[(self.cases["prediction_ml"] == 0) & (self.cases["reference_ml"] > 0)]
        groups = rows.groupby(["method", "class"], sort=False)["case"]
        return [(method, name, list(cases)) for (method, name), cases in groups]

    @property
    def methods(self) -> list[str]:
        """The evaluated method first, then those it is compared with."""
        return list(self.about["methods"])

    @property
    def classes(self) -> list[str]:
        """Class names in dataset.json's order."""
        return list(self.about["classes"])

    def values(self, metric: str, class_name: str, method: str | None = None, index: str = "case") -> pd.Series:
        """Return a metric of every case, the case or the `patient` as index; the first method unless one is named."""
        rows = self.cases[(self.cases["class"] == class_name) & (self.cases["method"] == (method or self.methods[0]))]
        return rows.set_index(index)[metric]

    def value(self, metric: str, case: str, class_name: str, method: str | None = None) -> float:
        """Return one metric of one case."""
        return float(self.values(metric, class_name, method).loc[case])

    def mean(self, metric: str, class_name: str | None = None, method: str | None = None) -> float:
        """Return a class's mean over the cases where it is defined; without a class, the mean of the classes' means."""
        names = self.classes if class_name is None else [class_name]
        return float(pd.Series([self.values(metric, name, method).mean() for name in names]).mean())

    @cached_property
    def class_means(self) -> pd.DataFrame:
        """The means of the classes' means; see `summarise_class_means`."""
        return summarise_class_means(self.cases, self.settings)

    def write(self, folder: Path) -> list[Path]:
        """Write the tables as CSV and everything as JSON; if writing one fails, no file is replaced.

        An earlier evaluation in the folder is replaced whole: its other tables and its report are removed.

        Returns:
            metrics_wide.csv, metrics_long.csv, lesions.csv, summary.csv, comparison.csv (each if it has rows) and
            evaluation.json.

        Raises:
            UserError: the folder can't be written, or holds files of these names that no evaluation wrote.
        """
        check_output(folder)
        long = self.cases.melt(id_vars=KEYS, var_name="metric", value_name="value")
        tables = {file: getattr(self, table) for file, table in CSV_FILES.items()} | {"metrics_long.csv": long}
        if len(self.class_means):
            tables["summary.csv"] = pd.concat([self.summary, self.class_means])
        written = [name for name, table in tables.items() if len(table)]
        content = {"about": self.about, "settings": self.settings.as_json()}
        for name in TABLES:
            rows: pd.DataFrame = getattr(self, name).astype(object)
            content[name] = rows.where(rows.notna(), None).to_dict(orient="records")  # JSON has no NaN
        with ExitStack() as stack:  # the file entered first is renamed last: the JSON, which `read` wants
            whole = stack.enter_context(replacing(folder / RESULT_FILE))
            for name in written:
                unfinished = stack.enter_context(replacing(folder / name))
                escape_names(tables[name]).to_csv(unfinished, index=False, encoding="utf-8")
            write_json(whole, content)
            for name in (*(tables.keys() - set(written)), REPORT_FILE):  # of the earlier evaluation
                remove(folder / name)
        return [folder / name for name in [*written, RESULT_FILE]]

    @classmethod
    def read(cls, folder: Path) -> Evaluation:
        """Read what `write` wrote.

        Raises:
            UserError: the folder holds no evaluation of this version, or one that was edited and contradicts itself.
        """
        file = folder / RESULT_FILE
        content = read_validated(file, EvaluationJson, "a result of `ser-nnunet evaluate` (in the folder of its -o)")
        try:
            settings: Settings = validate(content.settings, Settings)
            problems = list(find_contradictions(content, settings))
        except (UserError, ValueError) as error:
            problems = [f"settings: {error}"]
        if problems:
            listed = "\n".join(f"  {problem}" for problem in problems[:10])
            raise UserError(f"{file} is no whole result of `ser-nnunet evaluate`, evaluate again:\n{listed}")
        whole = content.model_dump(by_alias=True)
        tables = {name: pd.DataFrame.from_records(whole[name]) for name in TABLES}
        about = whole["about"]
        numbers = [metric.name for metric in settings.metrics if metric.name in tables["cases"]]
        tables["cases"][numbers] = tables["cases"][numbers].astype(float)  # a column of nulls only reads as objects
        return cls(**tables, settings=settings, about=about)


def escape_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table for a CSV file whose names a spreadsheet doesn't compute and no program takes for a gap.

    The names come from files and from dataset.json. The JSON holds them as they are.
    """
    words = [name for name in NAMES if name in table]
    escaped = {name: table[name].map(lambda value: csv_cell(str(value)) if value else value) for name in words}
    return table.assign(**escaped).rename(columns=printable)
