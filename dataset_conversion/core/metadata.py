"""The three files beside the images: dataset.json, splits_final.json and conversion.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ser_nnunet.dataset_conversion.core.case_checks import Examination
from ser_nnunet.dataset_conversion.core.data_classes import Case, Description
from ser_nnunet.dataset_conversion.core.problems import Problem
from ser_nnunet.dataset_conversion.core.source_tree import Tree
from ser_nnunet.dataset_conversion.core.writer import FILE_ENDING, target_of

from ser_nnunet import __version__


def dataset_json(description: Description, cases: Sequence[Case], name: str) -> dict[str, Any]:
    """What nnU-Net reads (channels, labels, counts), and what people should: licence, citation, source, warnings.

    Written here and not by nnU-Net's `generate_dataset_json`, which stores the release in the place of the citation.
    """
    content: dict[str, Any] = {
        "channel_names": {str(index): channel for index, channel in enumerate(description.channels.values())},
        "labels": {
            label: list(value) if isinstance(value, tuple) else value for label, value in description.labels.items()
        },
        "numTraining": sum(case.split == "train" for case in cases),
        "file_ending": FILE_ENDING,
        "overwrite_image_reader_writer": "SimpleITKIO",
        "name": name,
        "description": description.title,
        "licence": description.licence,
        "citation": description.citation,
        "reference": description.reference,
        "release": description.release,
        "converted_by": f"ser-nnunet {__version__}",
        "notes": list(description.notes),
    }
    if description.regions_class_order:
        content["regions_class_order"] = list(description.regions_class_order)
    return content


def conversion_json(
    tree: Tree,
    cases: Sequence[Case],
    examinations: Mapping[str, Examination],
    checksums: Mapping[str, Mapping[str, str]],
    notes: Sequence[Problem],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Every written file back to its source: checksums, what was changed and why, and what was noted on the way."""
    return {
        "converted_by": f"ser-nnunet {__version__}",
        "source": tree.root.resolve().name,
        "options": dict(options),
        "notes": [{"kind": note.kind, "case": note.case, "text": note.text} for note in notes],
        "cases": {case.name: _case_record(tree, case, examinations[case.name], checksums[case.name]) for case in cases},
    }


def _case_record(tree: Tree, case: Case, examination: Examination, checksums: Mapping[str, str]) -> dict[str, Any]:
    return {
        "patient": case.patient,
        "split": case.split,
        **({"site": case.site} if case.site else {}),
        "files": [
            {
                "file": target_of(case, facts.role),
                "role": facts.role,
                "source": {tree.short(Path(file)): sha256 for file, sha256 in facts.sources.items()},
                "sha256": checksums[target_of(case, facts.role)],
                "changes": facts.changes or ["none: copied as it is"],
                **(
                    {"source_values": {str(value): count for value, count in facts.counts.items()}}
                    if facts.counts
                    else {}
                ),
            }
            for facts in examination.facts
        ],
    }


def write_json(content: Any, path: Path) -> None:
    """Write readable JSON."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
