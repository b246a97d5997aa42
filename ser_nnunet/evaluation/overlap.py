"""Overlap and volume of two masks; the voxels are counted by nnU-Net's own evaluation."""

from __future__ import annotations

import math

import numpy as np
from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn


def ratio(numerator: float, denominator: float) -> float:
    """Return the quotient, NaN where nothing is divided by nothing: the one rule for every ratio here."""
    return float(numerator / denominator) if denominator else math.nan


def overlap_metrics(reference: np.ndarray, prediction: np.ndarray, voxel_ml: float) -> dict[str, float]:
    """Compare two masks voxel by voxel.

    Args:
        reference: bool, any shape; voxels to ignore are False in both masks.
        prediction: bool, same shape.
        voxel_ml: volume of a voxel in ml.

    Returns:
        Dice, IoU, sensitivity and precision in [0, 1] or NaN where undefined; volumes in ml.
    """
    counted = compute_tp_fp_fn_tn(reference, prediction)[:3]
    tp, fp, fn = (int(number) for number in counted)
    difference = (fp - fn) * voxel_ml
    return {
        "Dice": ratio(2 * tp, 2 * tp + fp + fn),
        "IoU": ratio(tp, tp + fp + fn),
        "sensitivity": ratio(tp, tp + fn),
        "precision": ratio(tp, tp + fp),
        "reference_ml": (tp + fn) * voxel_ml,
        "prediction_ml": (tp + fp) * voxel_ml,
        "volume_difference_ml": difference,
        "absolute_volume_difference_ml": abs(difference),
    }
