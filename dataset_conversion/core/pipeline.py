"""The steps of every conversion: the table of cases, all checks on all cases, then the writing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ser_nnunet.dataset_conversion.core.case_checks import check_case
from ser_nnunet.dataset_conversion.core.cohort_checks import (
    compare_case_counts,
    find_duplicates,
    find_patients_in_train_and_test,
)
from ser_nnunet.dataset_conversion.core.data_classes import (
    Case,
    CaseReport,
    CaseTable,
    ConversionReport,
    Options,
    Problem,
)
from ser_nnunet.dataset_conversion.core.grid_oddities import find_odd_grids
from ser_nnunet.dataset_conversion.core.output_folder import (
    check_id,
    find_output_root_inside,
    lock_id,
    make_folder_name,
)
from ser_nnunet.dataset_conversion.core.problems import ConversionError
from ser_nnunet.dataset_conversion.core.source_tree import SourceTree
from ser_nnunet.dataset_conversion.core.splits import add_unlabelled, describe_missing_folds, split_by_patient
from ser_nnunet.dataset_conversion.core.unlabelled import add_unlabelled_cases, declare_unlabelled, require_own_folder
from ser_nnunet.dataset_conversion.core.workers import map_cases
from ser_nnunet.dataset_conversion.core.writer import write_dataset
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import RAW, nnunet_folder

Find = Callable[[SourceTree, Options], CaseTable]
"""What each data set's module has: the table of cases in a source folder."""


@dataclass(frozen=True)
class ConversionSettings:
    """How to convert: what doesn't depend on the data set. See `ser_nnunet.dataset_conversion.convert`."""

    dataset: str
    dataset_id: int
    name: str | None = None
    exclude: tuple[str, ...] = ()
    dry_run: bool = False
    allow_partial: bool = False
    overwrite: bool = False
    processes: int | None = None
    raw: Path | None = None
    unlabelled: Path | None = None


def run_conversion(find: Find, source: Path, options: Options, settings: ConversionSettings) -> ConversionReport:
    """Convert the data set that `find` finds below `source`; see `ser_nnunet.dataset_conversion.convert`."""
    raw = nnunet_folder(RAW) if settings.raw is None else settings.raw
    if settings.dry_run:
        return check_and_write(find, source, raw, options, settings)
    if raw is None:
        raise UserError("nnUNet_raw is not set: export nnUNet_raw=/folder/for/nnUNet_raw, where data sets are written")
    with lock_id(raw, settings.dataset_id):
        return check_and_write(find, source, raw, options, settings)


def check_and_write(
    find: Find, source: Path, raw: Path | None, options: Options, settings: ConversionSettings
) -> ConversionReport:
    """Find all cases, check all of them, and write the data set to `raw` unless it is a dry run."""
    others = [] if settings.unlabelled is None else [settings.unlabelled]
    for folder in others:
        require_own_folder(folder, source)
    root = find_output_root_inside(source, raw)
    tree = SourceTree(source, without=[*others, *([root] if root else [])])
    table = find(tree, options)
    for folder in others:
        add_unlabelled_cases(table, folder)
    name = make_folder_name(settings.dataset_id, table.info.name if settings.name is None else settings.name)
    if raw is None:
        text = f"nnUNet_raw is not set: whether the id {settings.dataset_id} is free was not checked"
        problems = [Problem("target", "", text, fatal=False)]
    else:
        problems = check_id(raw, name, settings.overwrite, [source, *others])
    excluded = exclude_cases(table, settings.exclude)
    table.info = declare_unlabelled(table.info, table.cases)
    case_reports = map_cases(
        partial(check_case, info=table.info),
        sorted([*table.cases, *table.without_images], key=lambda case: case.name),
        settings.processes,
        "checking",
    )
    problems += table.problems
    problems += [shorten_paths(problem, tree) for report in case_reports for problem in report.problems]
    problems += check_cohort(table, case_reports, excluded, settings.allow_partial)
    notes = sorted(problem for problem in problems if not problem.fatal)
    report = ConversionReport(name, table.info, table.cases, notes)
    if any(problem.fatal for problem in problems):
        raise ConversionError(problems, report)
    splits = split_by_patient([case for case in table.cases if case.split == "train"])
    report.splits = add_unlabelled(splits, [case for case in table.cases if case.split != "test"])
    report.notes += describe_missing_folds(report.splits)
    if raw is not None and not settings.dry_run:
        choices = record_choices(options, settings)
        by_case = {case_report.case: case_report for case_report in case_reports}
        report.folder = write_dataset(report, tree, by_case, raw, choices, settings.processes)
    return report


def record_choices(options: Options, settings: ConversionSettings) -> dict[str, Any]:
    """Return what the user chose, for `conversion.json`; of folders the name alone."""
    choices = {"dataset": settings.dataset, **asdict(options), "exclude": settings.exclude}
    if options.layout is None:
        del choices["layout"]
    if settings.unlabelled is not None:
        choices["unlabelled"] = settings.unlabelled.resolve().name
    return choices


def exclude_cases(table: CaseTable, names: Sequence[str]) -> list[Case]:
    """Remove cases and their problems from the table, add a problem for each unknown name; return the cases removed."""
    every = [*table.cases, *table.without_images]
    known = {case.name for case in every} | {problem.case for problem in table.problems}
    table.cases = [case for case in table.cases if case.name not in names]
    table.without_images = [case for case in table.without_images if case.name not in names]
    table.problems = [problem for problem in table.problems if problem.case not in names]
    table.problems += [Problem("exclude", name, "there is no such case") for name in names if name not in known]
    return [case for case in every if case.name in names]


def check_cohort(
    table: CaseTable, case_reports: Sequence[CaseReport], excluded: Sequence[Case], allow_partial: bool
) -> list[Problem]:
    """Run the checks across cases: those of the data set, then those that all data sets share."""
    problems = [problem for check in table.info.cohort_checks for problem in check(case_reports)]
    problems += find_odd_grids(case_reports)
    patients = {case.name: case.patient for case in table.cases if table.info.allow_shared_masks}
    problems += find_duplicates(case_reports, patients)
    problems += find_patients_in_train_and_test(table.cases)
    problems += compare_case_counts(table.cases, table.info, excluded, allow_partial)
    return problems


def shorten_paths(problem: Problem, tree: SourceTree) -> Problem:
    """Return the problem with paths relative to the source folder.

    Only where a path begins: below the source `test` lie `test/test/P54` and `latest/test/P54`.
    """
    return replace(problem, text=re.sub(rf"(?<![\w./\\-]){re.escape(f'{tree.root}{os.sep}')}", "", problem.text))
