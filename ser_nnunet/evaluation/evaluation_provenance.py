"""Description of an evaluation: folders, classes, package versions and rules."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ser_nnunet import __version__
from ser_nnunet.evaluation.labels import Labels
from ser_nnunet.evaluation.patients import Patients
from ser_nnunet.evaluation.settings import Settings

PACKAGES = ("nnunetv2", "numpy", "scipy", "SimpleITK")  # of every evaluation; the groups of metrics add theirs


def describe_evaluation(
    reference: Path,
    methods: Mapping[str, Path],
    labels: Labels,
    images: Path | None,
    patients: Patients,
    settings: Settings,
) -> dict[str, Any]:
    """Return `Evaluation.about`.

    Args:
        reference: folder of reference segmentations.
        methods: method name -> folder of predictions.
        labels: of the data set.
        images: folder of the images; None takes imagesTr beside labelsTr and so on, where that folder exists.
        patients: of the evaluated cases.
        settings: of the evaluation.
    """
    reference = reference.resolve()
    if images is None and reference.name.startswith("labels"):
        beside = reference.with_name(reference.name.replace("labels", "images", 1))
        images = beside if beside.is_dir() else None
    packages = [*PACKAGES, *(package for group in settings.metric_groups.values() for package in group.packages)]
    return {
        "dataset": labels.content.get("name") or reference.parent.name,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "reference": str(reference),
        "methods": {name: str(folder.resolve()) for name, folder in methods.items()},
        "images": str(images.resolve()) if images else None,
        "dataset_json": str(labels.file.resolve()),
        "file_ending": labels.file_ending,
        "classes": {name: label if isinstance(label, int) else list(label) for name, label in labels.classes.items()},
        "ignore_label": labels.ignore,
        "patients": {
            "source": str(patients.source.resolve()) if patients.source else None,
            "patients": len(set(patients.of_case.values())),
            "scans": len(patients.of_case),
        },
        "versions": {
            "ser-nnunet": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
        "rules": describe_rules(settings),
    }


def describe_rules(settings: Settings) -> dict[str, str]:
    """Return what a reader must know to reproduce the numbers, by group of metrics."""
    empty_distance = "the image's diagonal" if settings.empty_distance == "diagonal" else "undefined"
    empty = (
        "A fraction that would divide 0 by 0 is undefined: its cell is empty, and means and tests leave it out."
        " With both masks empty, everything but counts and volumes is undefined; with one mask empty, Dice, IoU, NSD,"
        f" lesion F1, PQ and RQ are 0, and HD, HD95 and ASSD are {empty_distance}."
    )
    rules = {
        name: import_module(group.module).describe_rules(settings) for name, group in settings.metric_groups.items()
    }
    return rules | {"empty masks": empty}
