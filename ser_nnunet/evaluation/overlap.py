"""Overlap and volume of two masks; the voxels are counted by nnU-Net's own evaluation."""

from __future__ import annotations

import math

import numpy as np
from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn

from ser_nnunet.evaluation.definitions import Measurement
from ser_nnunet.evaluation.masks import ClassMasks
from ser_nnunet.evaluation.settings import Settings


def measure(masks: ClassMasks, settings: Settings) -> Measurement:
    """Measure overlap and volumes of one class."""
    return Measurement(measure_overlap(masks.reference, masks.prediction, masks.voxel_ml))


def describe_rules(settings: Settings) -> str:
    """Return what a reader must know to reproduce these metrics."""
    return (
        "Dice, IoU: TP, FP, FN counted by nnunetv2.evaluation.evaluate_predictions; voxels with the ignore label in the"
        " reference are not counted."
    )


def divide(numerator: float, denominator: float) -> float:
    """Return the quotient; NaN for 0 / 0."""
    return float(numerator / denominator) if denominator else math.nan


def measure_overlap(reference: np.ndarray, prediction: np.ndarray, voxel_ml: float) -> dict[str, float]:
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
        "Dice": divide(2 * tp, 2 * tp + fp + fn),
        "IoU": divide(tp, tp + fp + fn),
        "sensitivity": divide(tp, tp + fn),
        "precision": divide(tp, tp + fp),
        "reference_ml": (tp + fn) * voxel_ml,
        "prediction_ml": (tp + fp) * voxel_ml,
        "volume_difference_ml": difference,
        "absolute_volume_difference_ml": abs(difference),
    }
