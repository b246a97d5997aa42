"""Lesions: connected components of a mask, which of them are found, missed and false, and how large they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cc3d
import numpy as np
from scipy.optimize import linear_sum_assignment

from ser_nnunet.evaluation.definitions import LESIONS, stratified
from ser_nnunet.evaluation.overlap import ratio
from ser_nnunet.evaluation.settings import Settings

CONNECTIVITY: dict[int, Literal[8, 26]] = {
    2: 8,
    3: 26,
}  # voxels that touch by a face, an edge or a corner belong together

RULES = {
    "overlap": "a reference lesion is found if more than min_overlap of its voxels are predicted; a predicted lesion is"
    " true if more than min_overlap of its voxels lie in the reference (0: a single voxel is enough)",
    "iou": "lesions are paired one to one, so that the sum of their intersections over unions is largest; a pair counts"
    " if its intersection over union is above min_overlap; the rest is missed or false",
}


@dataclass(frozen=True)
class Components:
    """A mask's lesions: their label map (0 background, lesions from 1) and their sizes in voxels."""

    labels: np.ndarray
    sizes: np.ndarray


def find_components(mask: np.ndarray) -> Components:
    """Label the 26-connected (3D) or 8-connected (2D) components of a bool mask."""
    labels = cc3d.connected_components(mask, connectivity=CONNECTIVITY[mask.ndim])
    return Components(labels, np.bincount(labels.ravel())[1:])


def match_lesions(
    reference: Components, prediction: Components, rule: str, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return which reference lesions are found and which predicted lesions are true, both bool.

    Args:
        reference: lesions of the reference.
        prediction: lesions of the prediction, on the same grid.
        rule: one of `RULES`.
        threshold: its min_overlap, a fraction in [0, 1].
    """
    if rule == "iou":
        return _match_one_to_one(reference, prediction, threshold)
    return _covered(reference, prediction.labels > 0, threshold), _covered(prediction, reference.labels > 0, threshold)


def lesion_metrics(
    reference: np.ndarray, prediction: np.ndarray, voxel_ml: float, settings: Settings
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Count the lesions of two bool masks, `(Y, X)` or `(Z, Y, X)`.

    Returns:
        the metrics of `definitions.LESIONS`, overall and per size stratum; and a row per lesion. Sensitivity
        within a stratum is that of the reference lesions of this size, precision that of the predicted ones, and
        F1 is 2 TP / (2 TP + FN + FP): TP, FN the found and missed reference lesions, FP the false predicted ones.
    """
    components = find_components(reference), find_components(prediction)
    hits = match_lesions(*components, settings.detection, settings.threshold)
    lesions = [
        {
            "of": side,
            "lesion": number + 1,
            "voxels": int(size),
            "ml": float(size * voxel_ml),
            "stratum": settings.stratum_names[int(np.searchsorted(settings.strata, size, side="right"))],
            "matched": bool(hit),
        }
        for side, found, matched in zip(("reference", "prediction"), components, hits, strict=True)
        for number, (size, hit) in enumerate(zip(found.sizes, matched, strict=True))
        if size >= settings.min_lesion_voxels
    ]
    metrics = _count(lesions)
    for stratum in settings.stratum_names:
        counted = _count([lesion for lesion in lesions if lesion["stratum"] == stratum], within_stratum=True)
        metrics |= {stratified(name, stratum): value for name, value in counted.items()}
    return metrics, lesions


def _count(lesions: list[dict[str, Any]], within_stratum: bool = False) -> dict[str, float]:
    reference = [lesion["matched"] for lesion in lesions if lesion["of"] == "reference"]
    predicted = [lesion["matched"] for lesion in lesions if lesion["of"] == "prediction"]
    found, true = sum(reference), sum(predicted)
    missed, false = len(reference) - found, len(predicted) - true
    sensitivity, precision = ratio(found, len(reference)), ratio(true, len(predicted))
    if within_stratum or not reference or not predicted:
        # A stratum's two sides are different lesions: a small lesion may be met by a large prediction.
        f1 = ratio(2 * found, 2 * found + missed + false)
    else:
        # The harmonic mean of the two, in whole numbers.
        f1 = ratio(2 * found * true, found * len(predicted) + true * len(reference)) if found or true else 0.0
    values = [len(reference), len(predicted), found, missed, false, sensitivity, precision, f1]
    return dict(zip((metric.name for metric in LESIONS), map(float, values), strict=True))


def _covered(components: Components, other: np.ndarray, threshold: float) -> np.ndarray:
    shared = np.bincount(components.labels[other], minlength=components.sizes.size + 1)[1:]
    return shared > threshold * components.sizes


def _match_one_to_one(reference: Components, prediction: Components, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    found = np.zeros(reference.sizes.size, dtype=bool)
    true = np.zeros(prediction.sizes.size, dtype=bool)
    both = (reference.labels > 0) & (prediction.labels > 0)
    pairs, shared = np.unique(
        np.stack([reference.labels[both], prediction.labels[both]]).astype(np.int64) - 1, axis=1, return_counts=True
    )
    if not shared.size:
        return found, true
    union = reference.sizes[pairs[0]] + prediction.sizes[pairs[1]] - shared
    good = shared > threshold * union
    rows, row_of = np.unique(pairs[0][good], return_inverse=True)
    columns, column_of = np.unique(pairs[1][good], return_inverse=True)
    gain = np.zeros((rows.size, columns.size))
    gain[row_of, column_of] = (shared / union)[good]
    best = linear_sum_assignment(gain, maximize=True)
    paired = gain[best] > 0
    found[rows[best[0][paired]]] = True
    true[columns[best[1][paired]]] = True
    return found, true
