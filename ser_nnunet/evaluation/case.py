"""All metrics of one case; what a worker process runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .labels import Labels
from .masks import MaskError, Masks, read_masks
from .overlap import overlap_metrics
from .pairing import Case
from .settings import Settings


@dataclass
class CaseResult:
    """Rows of one case: metrics and lesions of every method and class, or the reasons why there are none."""

    metrics: list[dict[str, Any]] = field(default_factory=list)
    lesions: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def evaluate_case(case: Case, labels: Labels, settings: Settings) -> CaseResult:
    """Evaluate every method's prediction of one case, all classes."""
    result = CaseResult()
    try:
        for method, masks in zip(
            case.predictions, read_masks(case.reference, list(case.predictions.values()), labels), strict=True
        ):
            for name, label in labels.classes.items():
                key = {"method": method, "case": case.name, "class": name}
                pair = masks.of_class(label, labels.ignore)
                metrics, lesions = evaluate_masks(*pair, masks, name, settings)
                result.metrics.append(key | metrics)
                result.lesions += [key | lesion for lesion in lesions]
    except MaskError as error:
        result.problems.append(f"{case.name}: {error}")
    return result


def evaluate_masks(
    reference: np.ndarray, prediction: np.ndarray, masks: Masks, class_name: str, settings: Settings
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Return the metrics of one class, and its lesions; see `definitions.py` for the names and units."""
    metrics = overlap_metrics(reference, prediction, masks.voxel_ml)
    lesions: list[dict[str, Any]] = []
    if "surface" in settings.groups:
        from .surface import surface_metrics  # imports MONAI, which takes seconds

        tolerance = settings.tolerance(class_name)
        empty = masks.diagonal_mm if settings.empty_distance == "diagonal" else float("nan")
        metrics |= surface_metrics(reference, prediction, masks.spacing, tolerance, empty)
    if "lesions" in settings.groups:
        from .lesions import lesion_metrics

        counted, lesions = lesion_metrics(reference, prediction, masks.voxel_ml, settings)
        metrics |= counted
    return metrics, lesions
