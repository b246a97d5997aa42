"""What a conversion prints: the table of cases, and the summary with the command to run next."""

from __future__ import annotations

from ser_nnunet.dataset_conversion.core.data_classes import UNLABELLED, ConversionReport
from ser_nnunet.dataset_conversion.core.problems import format_problems
from ser_nnunet.utils.printable import counted


def format_case_table(report: ConversionReport) -> str:
    """Return the table: case, patient, split, site where there are several, and the files with their last folder."""
    with_site = any(case.site for case in report.cases)
    rows = [("case", "patient", "split", *(("site",) if with_site else ()), "files")]
    for case in report.cases:
        files = " ".join(dict.fromkeys("/".join(volume.path.parts[-2:]) for volume in case.volumes().values()))
        rows.append((case.name, case.patient, case.split, *((case.site,) if with_site else ()), files))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    )


def format_summary(report: ConversionReport, dataset_id: int) -> str:
    """Return what was converted, what was noted, and what to run next."""
    train = [case for case in report.cases if case.split == "train"]
    test = [case for case in report.cases if case.split == "test"]
    unlabelled = sum(case.split == UNLABELLED for case in report.cases)
    without = f"{unlabelled} without annotation, " if unlabelled else ""
    patients = counted(len({case.patient for case in train}), "patient")
    masks = sum(case.label is not None for case in test)
    classes = ", ".join(f"{name} {value}" for name, value in report.info.labels.items() if value != 0)
    folds = counted(len(report.splits), "fold") if report.splits else "no folds"
    lines = [
        f"{report.name}: {counted(len(train), 'training case')} of {patients}, {without}"
        + (f"{counted(len(test), 'test case')} ({masks} with a label)" if test else "no test cases"),
        f"channels: {', '.join(report.info.channels)}; classes: {classes}; {folds}",
    ]
    if report.notes:
        lines += ["noted", format_problems(report.notes)]
    lines += [f"note: {note}" for note in report.info.notes]
    cite = f"; please cite {report.info.citation}" if report.info.citation else ""
    lines.append(f"licence: {report.info.licence}{cite}")
    if report.folder is None:
        lines.append("dry run: all checks passed, nothing was written")
    else:
        lines += [
            f"written to {report.folder}",
            f"next: nnUNetv2_plan_and_preprocess -d {dataset_id} --verify_dataset_integrity -c 2d",
        ]
    return "\n".join(lines)
