"""Pseudo-labels for voxels without annotation, and CutMix of labelled and unlabelled patches.

Tarvainen, Valpola: Mean teachers are better role models, arXiv 1703.01780. French et al.: Semi-supervised semantic
segmentation needs strong, varied perturbations, arXiv 1906.01916 (CutMix with a mean teacher). Bai et al.:
Bidirectional copy-paste for semi-supervised medical image segmentation, arXiv 2305.00673 (labelled and unlabelled
patches mixed).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager

EDGES = (0.25, 0.75)  # of a box that CutMix pastes, relative to the patch's edges


def ignore_label(labels: LabelManager) -> int:
    """Return nnU-Net's ignore label. Raises ValueError for a data set without one."""
    if labels.ignore_label is None:
        raise ValueError("the data set has no label 'ignore'")
    return labels.ignore_label


def pseudo_targets(logits: torch.Tensor, labels: LabelManager, confidence: float) -> torch.Tensor:
    """Return what a network predicts, in the format of nnU-Net's target; uncertain voxels carry the ignore label.

    Args:
        logits: `(B, K, *patch)`.
        labels: of a data set with an ignore label.
        confidence: smallest probability, 0.5 to 1, of the predicted class, or of each region's in or outside.

    Returns:
        A label map `(B, 1, *patch)`; with regions booleans `(B, K + 1, *patch)`, the last for ignored voxels.
    """
    if labels.has_regions:
        inside = logits.sigmoid()
        certain = (torch.maximum(inside, 1 - inside) >= confidence).all(1, keepdim=True)
        return torch.cat([inside > 0.5, ~certain], 1)
    probability, label = logits.softmax(1).max(1, keepdim=True)
    return label.masked_fill(probability < confidence, ignore_label(labels))


def find_ignored(target: torch.Tensor, labels: LabelManager) -> torch.Tensor:
    """Return where nnU-Net's target is ignored, booleans `(B, 1, *patch)`."""
    return target[:, -1:].bool() if labels.has_regions else target.eq(ignore_label(labels))


def ignore_outside(target: torch.Tensor, kept: torch.Tensor, labels: LabelManager) -> torch.Tensor:
    """Return a target that is ignored wherever `kept`, booleans `(B, 1, *patch)`, is false."""
    if labels.has_regions:
        return torch.cat([target[:, :-1].bool(), target[:, -1:].bool() | ~kept], 1)
    return target.masked_fill(~kept, ignore_label(labels))


def draw_boxes(batch: int, patch: Sequence[int], device: torch.device) -> torch.Tensor:
    """Return a random box per patch as booleans `(B, 1, *patch)`; each edge has a quarter to three quarters of it."""
    boxes = torch.ones(batch, 1, *patch, dtype=torch.bool, device=device)
    for axis, edge in enumerate(patch):
        length = edge * torch.empty(batch, device=device).uniform_(*EDGES)
        first = torch.rand(batch, device=device) * (edge - length)
        position = torch.arange(edge, device=device) + 0.5
        inside = (position >= first[:, None]) & (position < (first + length)[:, None])
        boxes &= inside.reshape(batch, 1, *(edge if other == axis else 1 for other in range(len(patch))))
    return boxes


def cut_mix(values: torch.Tensor, boxes: torch.Tensor, partners: torch.Tensor) -> torch.Tensor:
    """Return patches `(B, C, *patch)` with boxes `(B, 1, *patch)` taken from other patches, `partners` `(B,)`."""
    return torch.where(boxes, values[partners], values)
