"""The shape of evaluation.json: what `report` may rely on, whoever wrote or edited the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from ser_nnunet.evaluation.definitions import Metric
from ser_nnunet.evaluation.settings import Settings
from ser_nnunet.utils.json_files import FileEnding, JsonModel, LabelOrRegion, LabelValue, Name

Row = dict[str, bool | int | float | str | None]


class PatientsJson(JsonModel):
    """Of how many patients the cases are, and which file says so."""

    source: str | None
    patients: int
    scans: int


class AboutJson(JsonModel):
    """Folders, methods, classes, versions and rules."""

    dataset: str
    date: str
    reference: Name
    methods: Annotated[dict[Name, Name], Field(min_length=1, max_length=100)]
    images: Name | None
    dataset_json: str
    file_ending: FileEnding
    classes: Annotated[dict[Name, LabelOrRegion], Field(min_length=1)]
    ignore_label: LabelValue | None
    patients: PatientsJson
    versions: dict[str, str]
    rules: dict[str, str]


class CaseJson(BaseModel, extra="allow"):
    """A row of the table of cases; its further entries are metrics."""

    __pydantic_extra__: dict[str, int | float | None] = Field(init=False)
    method: Name
    case: Name
    patient: Name
    class_: Name = Field(alias="class")


class EvaluationJson(JsonModel):
    """The whole file."""

    about: AboutJson
    settings: dict[str, Any]
    cases: Annotated[list[CaseJson], Field(min_length=1)]
    lesions: list[Row]
    summary: Annotated[list[Row], Field(min_length=1)]
    comparison: list[Row]


def find_contradictions(content: EvaluationJson, settings: Settings) -> Iterator[str]:
    """Yield what contradicts itself: rows that are absent, twice, or of methods, classes or metrics that don't exist.

    The case names become file names below the folders that `about` names, and must not lead out of them.
    """
    methods, classes = list(content.about.methods), list(content.about.classes)
    names = list(dict.fromkeys(row.case for row in content.cases))
    yield from (f"{name!r} is no name of a case" for name in names if re.search(r"[/\\\0]", name))
    about = content.about
    folders = [about.reference, *about.methods.values(), *([about.images] if about.images else [])]
    yield from (f"{folder!r} is no absolute path without .." for folder in folders if not _is_plain(folder))
    found = [(row.method, row.case, row.class_) for row in content.cases]
    if sorted(found) != sorted(product(methods, names, classes)):
        yield "cases: one row per method, case and class expected"
    metrics = {metric.name for metric in settings.metrics}
    measured = {name: settings.metrics_of(name) for name in classes}
    lacking = sorted(metrics - set[str].intersection(*(set(row.model_extra or {}) for row in content.cases)))
    yield from (f"cases: {name} is absent in some rows" for name in lacking[:3])
    summary = [(row.get("method"), row.get("class"), row.get("metric")) for row in content.summary]
    yield from _compare_rows("summary", summary, _keys(methods, measured))
    headline = {name: [metric for metric in metrics if metric.headline] for name, metrics in measured.items()}
    tests = [(row.get("other"), row.get("class"), row.get("metric")) for row in content.comparison]
    yield from _compare_rows("comparison", tests, _keys(methods[1:], headline))
    yield from _check_columns(content, settings.metrics)


def _keys(methods: list[str], measured: dict[str, list[Metric]]) -> list[tuple[str, ...]]:
    return [
        (method, name, metric.name) for method in methods for name, metrics in measured.items() for metric in metrics
    ]


def _is_plain(folder: str) -> bool:
    return Path(folder).is_absolute() and ".." not in Path(folder).parts and "\0" not in folder


def _compare_rows(table: str, found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> Iterator[str]:
    if sorted(map(str, found)) != sorted(map(str, expected)):
        yield f"{table}: one row per method, class and metric expected"


def _check_columns(content: EvaluationJson, metrics: list[Metric]) -> Iterator[str]:
    """Yield the columns of summary and comparison that are absent, or hold words where the page shows numbers."""
    needed = {
        "summary": ("n", "mean", "median", "q1", "q3", "ci_low", "ci_high", "sd"),
        "comparison": ("n", "mean_difference", "ci_low", "ci_high", "rank_biserial", "p_holm"),
    }
    for table, columns in needed.items():
        rows: list[Row] = getattr(content, table)
        for name in columns:
            if any(name not in row or isinstance(row[name], str) for row in rows):
                yield f"{table}: {name} is absent or no number in some rows"
    allowed = {*content.about.methods, ""}
    if any(row.get("better") not in allowed for row in content.comparison):
        yield "comparison: better is none of the methods in some rows"
