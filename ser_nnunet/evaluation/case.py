"""All metrics of one case; what a worker process runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ser_nnunet.evaluation.labels import Labels
from ser_nnunet.evaluation.masks import MaskError, Masks, pair_masks, read_label_map, reader_for
from ser_nnunet.evaluation.overlap import overlap_metrics
from ser_nnunet.evaluation.pairing import Case
from ser_nnunet.evaluation.settings import Settings


@dataclass
class CaseResult:
    """Rows of one case: metrics and lesions of every method and class, or the reasons why there are none."""

    metrics: list[dict[str, Any]] = field(default_factory=list)
    lesions: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def noting(self, case: str) -> Iterator[None]:
        """Keep a `MaskError` of the block as a problem, so that the other files are looked at, too."""
        try:
            yield
        except MaskError as error:
            self.problems.append(f"{case}: {error}")


def evaluate_case(case: Case, labels: Labels, settings: Settings) -> CaseResult:
    """Evaluate every method's prediction of one case, all classes; what is wrong with any file is kept, too."""
    result = CaseResult()
    with result.noting(case.name):
        reader, truth = reader_for(labels, case.files), None
        with result.noting(case.name):
            truth = read_label_map(case.reference, reader, labels)
        for method, file in case.predictions.items():
            with result.noting(case.name):
                predicted = read_label_map(file, reader, labels)
                if truth is not None:
                    masks = pair_masks(truth, predicted, file)
                    _evaluate_classes(masks, {"method": method, "case": case.name}, labels, settings, result)
    return result


def check_labels(case: Case, labels: Labels, skip: frozenset[Path] = frozenset()) -> CaseResult:
    """Read every file of a case, but those to skip, for what is wrong with its voxels; compute nothing."""
    result = CaseResult()
    files = [file for file in case.files if file not in skip]
    if not files:
        return result
    with result.noting(case.name):
        reader = reader_for(labels, files)
        for file in files:
            with result.noting(case.name):
                read_label_map(file, reader, labels)
    return result


def _evaluate_classes(
    masks: Masks, key: dict[str, str], labels: Labels, settings: Settings, result: CaseResult
) -> None:
    for name, label in labels.classes.items():
        metrics, lesions = evaluate_masks(*masks.of_class(label, labels.ignore), masks, name, settings)
        row = key | {"class": name}
        result.metrics.append(row | metrics)
        result.lesions += [row | lesion for lesion in lesions]


def evaluate_masks(
    reference: np.ndarray, prediction: np.ndarray, masks: Masks, class_name: str, settings: Settings
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Return the metrics of one class, and its lesions; see `definitions.py` for the names and units."""
    metrics = overlap_metrics(reference, prediction, masks.voxel_ml)
    lesions: list[dict[str, Any]] = []
    if "surface" in settings.groups:
        from ser_nnunet.evaluation.surface import surface_metrics  # imports MONAI, which takes seconds

        tolerance = settings.tolerance(class_name)
        empty = masks.diagonal_mm if settings.empty_distance == "diagonal" else float("nan")
        metrics |= surface_metrics(reference, prediction, masks.spacing, tolerance, empty)
    if "lesions" in settings.groups:
        from ser_nnunet.evaluation.lesions import lesion_metrics

        counted, lesions = lesion_metrics(reference, prediction, masks.voxel_ml, settings)
        metrics |= counted
    return metrics, lesions
