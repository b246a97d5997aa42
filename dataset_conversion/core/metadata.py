"""The content of the files beside the images: dataset.json and conversion.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ser_nnunet import __version__
from ser_nnunet.dataset_conversion.core.data_classes import (
    LABEL,
    UNLABELLED,
    Case,
    CaseReport,
    ConversionReport,
)
from ser_nnunet.dataset_conversion.core.output_folder import FILE_ENDING, make_output_path
from ser_nnunet.dataset_conversion.core.source_tree import SourceTree
from ser_nnunet.nnunet.region_order import IGNORE


def make_dataset_json(report: ConversionReport) -> dict[str, Any]:
    """Return what nnU-Net reads (channels, labels, counts) and what users need: licence, citation, source, warnings.

    Written here and not by nnU-Net's `generate_dataset_json`, which stores the release in the place of the citation.
    """
    info = report.info
    content: dict[str, Any] = {
        "channel_names": {str(index): channel for index, channel in enumerate(info.channels.values())},
        "labels": {label: list(value) if isinstance(value, tuple) else value for label, value in info.labels.items()},
        "numTraining": sum(case.split != "test" for case in report.cases),
        "file_ending": FILE_ENDING,
        "overwrite_image_reader_writer": "SimpleITKIO",
        "name": report.name,
        "description": info.title,
        "licence": info.licence,
        "citation": info.citation,
        "reference": info.reference,
        "release": info.release,
        "converted_by": f"ser-nnunet {__version__}",
        "notes": list(info.notes),
    }
    if unannotated := sum(case.split == UNLABELLED for case in report.cases):
        content["numUnannotated"] = unannotated
    if info.regions_class_order:
        content["regions_class_order"] = list(info.regions_class_order)
    return content


def make_conversion_json(
    report: ConversionReport,
    tree: SourceTree,
    case_reports: Mapping[str, CaseReport],
    checksums: Mapping[str, str],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the source of every written file: checksums, what was changed and why, and what was noted.

    `case_reports` are by case, `checksums` (SHA-256) by the written file's path below the data set's folder.
    """
    return {
        "converted_by": f"ser-nnunet {__version__}",
        "source": tree.root.resolve().name,
        "options": dict(options),
        "notes": [{"kind": note.kind, "case": note.case, "text": note.text} for note in report.notes],
        "cases": {
            case.name: _make_record(tree, case, case_reports[case.name], checksums, report.info.labels.get(IGNORE))
            for case in report.cases
        },
    }


def _make_record(
    tree: SourceTree, case: Case, report: CaseReport, checksums: Mapping[str, str], ignored: object
) -> dict[str, Any]:
    """Return the record of a case; the sources of an unlabelled one are names in the folder of these."""
    files = []
    for facts in report.facts:
        path = make_output_path(case, facts.role)
        record: dict[str, Any] = {
            "file": path,
            "role": facts.role,
            "source": {
                Path(file).name if case.split == UNLABELLED else tree.shorten(Path(file)): sha256
                for file, sha256 in facts.sources.items()
            },
            "sha256": checksums[path],
            "changes": facts.changes or ["none: copied as it is"],
        }
        if facts.value_counts:
            record["source_values"] = {str(value): count for value, count in facts.value_counts.items()}
        files.append(record)
    if case.split == UNLABELLED:
        path = make_output_path(case, LABEL)
        changes = [f"no annotation: the label {IGNORE} ({ignored}), and 0 outside of the image's content"]
        files.append({"file": path, "role": LABEL, "source": {}, "sha256": checksums[path], "changes": changes})
    site = {"site": case.site} if case.site else {}
    return {"patient": case.patient, "split": case.split, **site, "files": files}
