"""Pseudo-labels for voxels with nnU-Net's ignore label, in the format of nnU-Net's segmentations."""

from __future__ import annotations

import numpy as np
import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager


def ignore_label(labels: LabelManager) -> int:
    """Return nnU-Net's ignore label. Raises ValueError for a data set without one."""
    if labels.ignore_label is None:
        raise ValueError("the data set has no label 'ignore'")
    return labels.ignore_label


def certain_labels(logits: torch.Tensor, labels: LabelManager, confidence: float) -> torch.Tensor:
    """Return what a network predicts as a label map; uncertain voxels carry the ignore label.

    Args:
        logits: `(K, *volume)`.
        labels: of a data set with an ignore label.
        confidence: smallest probability, 0.5 to 1, of the predicted class, or of every region's in- or outside.

    Returns:
        `(*volume)`, integers. Regions are written in the order of `regions_class_order`, as in nnU-Net's predictions.
    """
    if labels.has_regions:
        inside = logits.float().sigmoid()
        probability = torch.maximum(inside, 1 - inside).amin(0)
        label = torch.zeros(logits.shape[1:], dtype=torch.long, device=logits.device)
        for region, value in enumerate(labels.regions_class_order or ()):
            label[inside[region] > 0.5] = value
    else:
        probability, label = logits.float().softmax(0).max(0)
    return label.masked_fill(probability < confidence, ignore_label(labels))


def fill_ignored(annotation: np.ndarray, pseudo: np.ndarray, labels: LabelManager) -> np.ndarray:
    """Return the annotation with pseudo-labels where it is ignored, both `(1, D, H, W)`; annotation is kept."""
    return np.where(annotation == ignore_label(labels), pseudo, annotation)


def keep_agreed(one: np.ndarray, other: np.ndarray, labels: LabelManager) -> np.ndarray:
    """Return labels where two label maps agree, and the ignore label elsewhere."""
    return np.where(one == other, one, ignore_label(labels))


def count_label_overlap(labelled: np.ndarray, annotation: np.ndarray, labels: LabelManager) -> np.ndarray:
    """Return true positives, false positives and false negatives per label, `(3, P)`; ignored voxels aren't counted.

    Args:
        labelled: label map, in which uncertain voxels carry the ignore label.
        annotation: of the same shape.
        labels: the data set's label manager.
    """
    ignored = ignore_label(labels)
    counted = (labelled != ignored) & (annotation != ignored) & (annotation >= 0)
    found, true = labelled[counted], annotation[counted]
    values = [label for label in labels.foreground_labels if label != ignored]
    pairs = [((found == value), (true == value)) for value in values]
    return np.array([[(a & b).sum(), (a & ~b).sum(), (~a & b).sum()] for a, b in pairs]).T
