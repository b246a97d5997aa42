"""The way of every converter: the table of cases, all checks on all cases, then the writing."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from ser_nnunet.dataset_conversion.core.case_checks import Examination, examine
from ser_nnunet.dataset_conversion.core.cohort_checks import counts, duplicates, patients_on_both_sides
from ser_nnunet.dataset_conversion.core.data_classes import Case, Description, Options, Table
from ser_nnunet.dataset_conversion.core.metadata import conversion_json, dataset_json, write_json
from ser_nnunet.dataset_conversion.core.output_folder import atomic_folder, dataset_folder_name, demand_free, raw_folder
from ser_nnunet.dataset_conversion.core.problems import ConversionError, Problem
from ser_nnunet.dataset_conversion.core.source_tree import Tree
from ser_nnunet.dataset_conversion.core.splits import FOLDS, grouped_splits
from ser_nnunet.dataset_conversion.core.writer import Job, write_case
from ser_nnunet.dataset_conversion.registry import CONVERTERS

from ser_nnunet.errors import UserError
from ser_nnunet.utils.processes import fitting_processes, map_in_processes

BYTES_PER_PROCESS = 2**30
"""Measured: 0.7 GiB at the peak for a CT scan of 51 million voxels, 0.3 GiB for a brain of 7 million."""

UNCHECKED = "nnUNet_raw is not set: whether the id {} is free was not checked"


@dataclass
class Report:
    """What a conversion did, or would do: `folder` is None for a dry run."""

    name: str
    description: Description
    cases: list[Case]
    notes: list[Problem]
    folder: Path | None = None
    splits: list[dict[str, list[str]]] = field(default_factory=list)


@dataclass
class _Checked:
    """A data set all of whose checks were run."""

    tree: Tree
    table: Table
    examinations: dict[str, Examination]
    problems: list[Problem]

    def notes(self) -> list[Problem]:
        return sorted(problem for problem in self.problems if not problem.fatal)


def convert(
    source: str | Path,
    dataset_id: int,
    *,
    dataset: str,
    name: str | None = None,
    channels: Sequence[str] | None = None,
    classes: str = "shipped",
    exclude: Sequence[str] = (),
    dry_run: bool = False,
    allow_partial: bool = False,
    overwrite: bool = False,
    processes: int | None = None,
    raw: Path | None = None,
) -> Report:
    """Convert the downloaded data set below `source` into `DatasetXXX_Name` in `raw` (default: $nnUNet_raw).

    First all cases are found, then all of them checked, then written into a hidden folder that is renamed at the end.
    Nothing below `source` is changed. `dataset` is a key of `registry.CONVERTERS`; `channels` are chosen and ordered by
    name; `exclude` names cases to leave out; `processes` defaults to all cores that memory allows (a script that uses
    more than one needs the `if __name__ == "__main__"` guard, as with nnU-Net's own functions).

    `dry_run` writes nothing. It alone does without a target: whether the id is free is unknown then, and that is noted.

    Raises `ConversionError`, which lists every problem found, and `UserError` for a folder, id or name that cannot be.
    Either way nothing was written.
    """
    target = raw if raw is not None else raw_folder(required=not dry_run)
    tree = Tree(Path(source), without=_inside(target, Path(source)))
    table = CONVERTERS[dataset].find(tree, Options(_tuple(channels), classes, frozenset(exclude)))
    folder_name = dataset_folder_name(dataset_id, table.description.name if name is None else name)
    processes = processes or fitting_processes(BYTES_PER_PROCESS)
    remains = demand_free(target, folder_name, overwrite, Path(source)) if target else []
    unchecked = [] if target else [Problem("target", "", UNCHECKED.format(dataset_id), fatal=False)]
    checked = _check(tree, table, exclude, allow_partial, processes)
    checked.problems += [Problem("earlier data set", "", text, fatal=False) for text in remains] + unchecked
    report = Report(folder_name, table.description, table.cases, checked.notes())
    if any(problem.fatal for problem in checked.problems):
        raise ConversionError(checked.problems, report)
    report.splits = grouped_splits([case for case in table.cases if case.split == "train"])
    report.notes += _fold_notes(report.splits)
    if target is not None and not dry_run:
        options = {"dataset": dataset, "channels": channels, "classes": classes, "exclude": list(exclude)}
        _write(report, checked, target, processes, options)
    return report


def _tuple(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _inside(raw: Path | None, source: Path) -> Path | None:
    """The target, if it lies inside the source, where files already converted must not be found again."""
    if raw is None or not raw.resolve().is_relative_to(source.resolve()):
        return None
    if raw.resolve() == source.resolve():
        raise UserError(f"{source} is nnUNet_raw itself: point at the folder of the download")
    return raw


def _check(tree: Tree, table: Table, exclude: Sequence[str], allow_partial: bool, processes: int) -> _Checked:
    problems = [problem for problem in table.problems if problem.case not in exclude]
    left_out = [case for case in (*table.cases, *table.without_images) if case.name in exclude]
    known = {case.name for case in table.cases} | {problem.case for problem in table.problems}
    problems += [Problem("exclude", name, "there is no such case") for name in exclude if name not in known]
    table.cases = [case for case in table.cases if case.name not in exclude]
    examined = [case for case in (*table.cases, *table.without_images) if case.name not in exclude]
    examined.sort(key=lambda case: case.name)
    results = map_in_processes(
        partial(examine, description=table.description), examined, processes, "checking", prepare_worker=prepare_worker
    )
    problems += [_shortened(problem, tree) for result in results for problem in result.problems]
    problems += [problem for check in table.description.cohort_checks for problem in check(results)]
    problems += [*duplicates(results), *patients_on_both_sides(table.cases)]
    problems += counts(table.cases, table.description, left_out, allow_partial)
    return _Checked(tree, table, {result.case: result for result in results}, problems)


def _shortened(problem: Problem, tree: Tree) -> Problem:
    """Paths in messages as they are below the source: the user knows where that is.

    Only where a path begins: below the source `test` lie `test/test/P54` and `latest/test/P54`.
    """
    text = re.sub(rf"(?<![\w./\\-]){re.escape(f'{tree.root}{os.sep}')}", "", problem.text)
    return Problem(problem.kind, problem.case, text, problem.fatal)


def _fold_notes(splits: list[dict[str, list[str]]]) -> list[Problem]:
    if not splits:
        text = "one patient alone cannot be split: no splits_final.json; train with `-f all`"
        return [Problem("folds", "", text, fatal=False)]
    if len(splits) < FOLDS:
        text = f"{len(splits)} patients make {len(splits)} folds instead of {FOLDS}: train folds 0 to {len(splits) - 1}"
        return [Problem("folds", "", text, fatal=False)]
    return []


def _write(report: Report, checked: _Checked, raw: Path, processes: int, options: dict[str, Any]) -> None:
    _demand_room(checked, raw)
    try:
        with atomic_folder(raw, report.name) as folder:
            checksums = _write_cases(report, checked, folder, processes)
            write_json(dataset_json(report.description, report.cases, report.name), folder / "dataset.json")
            if report.splits:
                write_json(report.splits, folder / "splits_final.json")
            record = conversion_json(checked.tree, report.cases, checked.examinations, checksums, report.notes, options)
            write_json(record, folder / "conversion.json")
    except OSError as error:
        raise UserError(f"writing to {raw} failed, nothing was left behind: {error}") from error
    report.folder = raw / report.name


def _write_cases(report: Report, checked: _Checked, folder: Path, processes: int) -> dict[str, dict[str, str]]:
    """Write all cases; return case -> written file -> SHA-256."""
    jobs = [
        Job(case, report.description, tuple(checked.examinations[case.name].facts), folder) for case in report.cases
    ]
    written = map_in_processes(write_case, jobs, processes, "writing", prepare_worker=prepare_worker)
    return {job.case.name: files for job, files in zip(jobs, written, strict=True)}


def _demand_room(checked: _Checked, raw: Path) -> None:
    """Refuse before the first byte if the files that will be copied alone do not fit on the disk."""
    copied = {
        file
        for each in checked.examinations.values()
        for facts in each.facts
        if not facts.changes
        for file in facts.sources
    }
    needed = sum(Path(file).stat().st_size for file in copied)
    existing = next(folder for folder in (raw, *raw.resolve().parents) if folder.exists())
    if needed > (free := shutil.disk_usage(existing).free):
        raise UserError(f"{raw} has {free / 2**30:.1f} GiB left, the images need {needed / 2**30:.1f} GiB")


def prepare_worker() -> None:
    """Leave the cores to the other workers and keep ITK's warnings off the progress bar."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
