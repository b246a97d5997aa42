"""L_seg: SAM's masks against the same classes, regions and ignored pixels that nnU-Net's own loss sees.

L_dist is nnU-Net's own loss for the task, unchanged. `sam_distillation` (ours, not the paper's) draws the network's
output towards SAM's masks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.label_handling.label_handling import LabelManager


def binary_targets(target: torch.Tensor, labels: LabelManager) -> torch.Tensor:
    """Return nnU-Net's target as one binary map per foreground class or region.

    Args:
        target: nnU-Net's: a label map `(B, 1, H, W)`, or `(B, P (+ 1 if labels are ignored), H, W)` with regions.
        labels: the data set's label manager.

    Returns:
        Booleans `(B, P, H, W)`; with an ignore label `(B, P + 1, H, W)`, the last map marks the ignored pixels.
    """
    if labels.has_regions:
        return target.bool()
    wanted = [*labels.foreground_labels, *([labels.ignore_label] if labels.has_ignore_label else [])]
    return torch.cat([target == label for label in wanted], 1)


def split_ignored(targets: torch.Tensor, labels: LabelManager) -> tuple[torch.Tensor, torch.Tensor]:
    """Split `binary_targets` into foreground maps `(B, P, H, W)` and the mask `(B, 1, H, W)` of annotated pixels."""
    if labels.has_ignore_label:
        return targets[:, :-1], ~targets[:, -1:]
    return targets, torch.ones_like(targets[:, :1])


def build_seg_loss(labels: LabelManager, batch_dice: bool, ddp: bool) -> DC_and_BCE_loss:
    """Return L_seg: nnU-Net's Dice plus binary cross-entropy over SAM's mask logits `(B, P, H, W)`."""
    return DC_and_BCE_loss(
        {},
        {"batch_dice": batch_dice, "do_bg": True, "smooth": 1e-5, "ddp": ddp},
        use_ignore_label=labels.has_ignore_label,
        dice_class=MemoryEfficientSoftDiceLoss,
    )


def one_vs_rest_logits(logits: torch.Tensor, labels: LabelManager) -> torch.Tensor:
    """Return one binary logit per foreground class or region, `(B, K, H, W)` -> `(B, P, H, W)`.

    The sigmoid of a class's binary logit is its softmax probability; regions are binary already.
    """
    if labels.has_regions:
        return logits
    rest = [logits[:, [k for k in range(logits.shape[1]) if k != c]].logsumexp(1) for c in range(1, logits.shape[1])]
    return logits[:, 1:] - torch.stack(rest, 1)


def sam_distillation(logits: torch.Tensor, masks: torch.Tensor, labels: LabelManager) -> torch.Tensor:
    """Return the cross-entropy of the network's output towards SAM's masks as soft targets; no annotation is involved.

    Args:
        logits: the network's `(B, K, H, W)`.
        masks: SAM's logits `(B, P, H, W)`; no gradient flows into them.
        labels: the data set's label manager.
    """
    return F.binary_cross_entropy_with_logits(one_vs_rest_logits(logits.float(), labels), masks.detach().sigmoid())


def count_overlap(logits: torch.Tensor, targets: torch.Tensor, labels: LabelManager) -> torch.Tensor:
    """Return true positives, false positives and false negatives per class, `(3, P)`, of masks cut at logit 0.

    Args:
        logits: `(B, P, H, W)` or `(B, P, D, H, W)`.
        targets: as from `binary_targets`; ignored pixels aren't counted.
        labels: the data set's label manager.
    """
    foreground, annotated = split_ignored(targets, labels)
    predicted = (logits > 0) & annotated
    foreground = foreground & annotated
    pairs = (predicted & foreground, predicted & ~foreground, ~predicted & foreground)
    return torch.stack([pair.transpose(0, 1).flatten(1).sum(1) for pair in pairs])


def mean_dice(overlap: torch.Tensor) -> torch.Tensor:
    """Return the mean Dice of `count_overlap`'s counts `(3, P)` over the classes that occur, as a scalar.

    A class that occurs neither in the annotation nor in the masks is left out; NaN if no class occurs.
    """
    tp, fp, fn = overlap.float()
    dice: torch.Tensor = 2 * tp / (2 * tp + fp + fn)
    return dice.nanmean()
