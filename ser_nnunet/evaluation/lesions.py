"""Lesions: the connected components of a mask, which of them are found, missed or false, and how well they fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import cc3d
import numpy as np
from scipy.optimize import linear_sum_assignment

from ser_nnunet.evaluation.definitions import F1_IN_STRATUM, MATCHED, Measurement, stratum_column
from ser_nnunet.evaluation.masks import ClassMasks
from ser_nnunet.evaluation.overlap import divide
from ser_nnunet.evaluation.settings import Settings

# By dimension: voxels that touch by a face, an edge or a corner belong together.
CONNECTIVITY: dict[int, Literal[8, 26]] = {2: 8, 3: 26}

PANOPTIC_IOU = 0.5
"""Lesions match above this intersection over union, each with one other at most (Kirillov et al., CVPR 2019)."""

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


def measure(masks: ClassMasks, settings: Settings) -> Measurement:
    """Count the lesions of one class, overall and by size, and list them."""
    return Measurement(*measure_lesions(masks.reference, masks.prediction, masks.voxel_ml, settings))


def describe_rules(settings: Settings) -> str:
    """Return what a reader must know to reproduce these metrics."""
    counted = settings.lesion_classes
    return (
        f"Counted for {'every class' if isinstance(counted, str) else ', '.join(counted)}:"
        f" connected components ({CONNECTIVITY[3]} neighbours in 3D, {CONNECTIVITY[2]} in 2D) of at least"
        f" {settings.min_lesion_voxels} voxels. Rule '{settings.detection}', min_overlap {settings.threshold:g}:"
        f" {RULES[settings.detection]}. Size strata in voxels: {', '.join(settings.stratum_names)};"
        f" F1 within a stratum is {F1_IN_STRATUM}. PQ, SQ, RQ and Dice per lesion, whatever the rule: {MATCHED}; TP are"
        " the matches, FN and FP the reference and the predicted lesions without one (Kirillov et al., CVPR 2019)."
    )


def label_components(mask: np.ndarray) -> Components:
    """Label the 26-connected (3D) or 8-connected (2D) components of a bool mask."""
    single_line = sum(size > 1 for size in mask.shape) < 2  # connected-components-3d 4.1.1 labels such masks wrongly
    labels = cc3d.connected_components(np.pad(mask, 1) if single_line else mask, connectivity=CONNECTIVITY[mask.ndim])
    labels = labels[(slice(1, -1),) * mask.ndim] if single_line else labels
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
    if rule == "overlap":
        covered = _find_covered(reference, prediction.labels > 0, threshold)
        return covered, _find_covered(prediction, reference.labels > 0, threshold)
    found = np.zeros(reference.sizes.size, dtype=bool)
    true = np.zeros(prediction.sizes.size, dtype=bool)
    first, second, iou = pair_lesions(reference, prediction, threshold)
    if not iou.size:
        return found, true
    rows, row_of = np.unique(first, return_inverse=True)
    columns, column_of = np.unique(second, return_inverse=True)
    gain = np.zeros((rows.size, columns.size))
    gain[row_of, column_of] = iou
    best = linear_sum_assignment(gain, maximize=True)
    paired = gain[best] > 0
    found[rows[best[0][paired]]] = True
    true[columns[best[1][paired]]] = True
    return found, true


def pair_lesions(
    reference: Components, prediction: Components, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all pairs of lesions whose intersection over union is above a threshold in [0, 1].

    Returns:
        indices of the reference lesions and of the predicted ones (from 0), and the pairs' intersections over unions.
    """
    both = (reference.labels > 0) & (prediction.labels > 0)
    width = prediction.sizes.size + 1
    codes = reference.labels[both] * np.int64(width)  # a pair of labels as one number, which is sorted much faster
    codes += prediction.labels[both]
    pairs, shared = np.unique(codes, return_counts=True)
    first, second = pairs // width - 1, pairs % width - 1
    union = reference.sizes[first] + prediction.sizes[second] - shared
    above = shared > threshold * union
    return first[above], second[above], (shared / union)[above]


def measure_lesions(
    reference: np.ndarray, prediction: np.ndarray, voxel_ml: float, settings: Settings
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Count the lesions of two bool masks, `(Y, X)` or `(Z, Y, X)`.

    Returns:
        the metrics of `definitions.LESIONS`, overall and per size stratum; and a row per lesion, whose `IoU` is that
        with its match above `PANOPTIC_IOU`, NaN without one. Sensitivity within a stratum is that of the reference
        lesions of this size, precision that of the predicted ones, and F1 is 2 TP / (2 TP + FN + FP): TP, FN the found
        and missed reference lesions, FP the false predicted ones.
    """
    components = label_components(reference), label_components(prediction)
    hits = match_lesions(*components, settings.detection, settings.threshold)
    fits = [np.full(each.sizes.size, math.nan) for each in components]
    first, second, iou = pair_lesions(*components, PANOPTIC_IOU)
    fits[0][first] = fits[1][second] = iou
    lesions = [
        {
            "of": side,
            "lesion": number + 1,
            "voxels": int(size),
            "ml": float(size * voxel_ml),
            "stratum": settings.stratum_names[int(np.searchsorted(settings.strata, size, side="right"))],
            "matched": bool(hit),
            "IoU": float(fit),
        }
        for side, found, matched, fitting in zip(("reference", "prediction"), components, hits, fits, strict=True)
        for number, (size, hit, fit) in enumerate(zip(found.sizes, matched, fitting, strict=True))
        if size >= settings.min_lesion_voxels
    ]
    metrics = _summarise_lesions(lesions)
    for stratum in settings.stratum_names:
        counted = _summarise_lesions([each for each in lesions if each["stratum"] == stratum], within_stratum=True)
        metrics |= {stratum_column(name, stratum): value for name, value in counted.items()}
    return metrics, lesions


def _summarise_lesions(lesions: list[dict[str, Any]], within_stratum: bool = False) -> dict[str, float]:
    reference = [lesion["matched"] for lesion in lesions if lesion["of"] == "reference"]
    predicted = [lesion["matched"] for lesion in lesions if lesion["of"] == "prediction"]
    found, true = sum(reference), sum(predicted)
    missed, false = len(reference) - found, len(predicted) - true
    if within_stratum or not reference or not predicted:
        # A stratum's two sides are different lesions: a small lesion may be detected by a large prediction.
        f1 = divide(2 * found, 2 * found + missed + false)
    else:
        # The harmonic mean of sensitivity and precision, in whole numbers.
        f1 = divide(2 * found * true, found * len(predicted) + true * len(reference)) if found or true else 0.0
    return {
        "lesions_reference": float(len(reference)),
        "lesions_predicted": float(len(predicted)),
        "lesions_found": float(found),
        "lesions_missed": float(missed),
        "lesions_false": float(false),
        "lesion_sensitivity": divide(found, len(reference)),
        "lesion_precision": divide(true, len(predicted)),
        "lesion_F1": f1,
        **_summarise_fits(lesions),
    }


def _summarise_fits(lesions: list[dict[str, Any]]) -> dict[str, float]:
    """Return the panoptic quality, its two factors, and the mean Dice of the matches, from the lesions' `IoU`."""
    ious = [each["IoU"] for each in lesions if each["of"] == "reference" and not math.isnan(each["IoU"])]
    unmatched = sum(math.isnan(each["IoU"]) for each in lesions)
    return {
        "PQ": divide(2 * sum(ious), 2 * len(ious) + unmatched),
        "SQ": divide(sum(ious), len(ious)),
        "RQ": divide(2 * len(ious), 2 * len(ious) + unmatched),
        "lesion_Dice": divide(sum(2 * iou / (1 + iou) for iou in ious), len(ious)),
    }


def _find_covered(components: Components, other: np.ndarray, threshold: float) -> np.ndarray:
    """Return for every component whether more than a share of its voxels is True in the other mask."""
    shared = np.bincount(components.labels[other], minlength=components.sizes.size + 1)[1:]
    return np.asarray(shared > threshold * components.sizes)
