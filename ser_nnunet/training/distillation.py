"""The distillation loss between a student's and a teacher's logits, and how good a teacher's segmentation is.

Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, arXiv 1503.02531.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from ser_nnunet.training.losses import binary_targets, count_overlap


def distillation_loss(
    student: torch.Tensor, teacher: torch.Tensor, labels: LabelManager, temperature: float
) -> torch.Tensor:
    """Return the Kullback-Leibler divergence KL(teacher || student) of the softened outputs, times temperature^2.

    The factor keeps the gradient's magnitude independent of the temperature (section 2 of the paper). The loss is the
    mean over all voxels, those with nnU-Net's ignore label included, because the teacher segments these as well. With
    regions it is also the mean over the regions, of the divergence between two sigmoids: its gradient is that of binary
    cross-entropy with soft targets, and its value is 0 where both agree.

    Args:
        student: logits `(B, K, *patch)`.
        teacher: logits of the same shape; no gradient flows into them.
        labels: the data set's label manager.
        temperature: above 0; divides the logits.
    """
    given, wanted = (
        log_probabilities(logits.float() / temperature, labels.has_regions) for logits in (student, teacher.detach())
    )
    divergence = F.kl_div(given, wanted, reduction="none", log_target=True).sum(1)
    return divergence.mean() * temperature**2


def log_probabilities(logits: torch.Tensor, regions: bool) -> torch.Tensor:
    """Return log-probabilities along axis 1: `(B, K, *patch)` for classes, `(B, 2, K, *patch)` for regions.

    Axis 1 of regions is "inside, outside".
    """
    if regions:
        return torch.stack([F.logsigmoid(logits), F.logsigmoid(-logits)], 1)
    return logits.log_softmax(1)


def count_segmentation_overlap(logits: torch.Tensor, target: torch.Tensor, labels: LabelManager) -> torch.Tensor:
    """Return true positives, false positives and false negatives per class or region, `(3, P)`, as nnU-Net predicts.

    Args:
        logits: `(B, K, H, W)` or `(B, K, D, H, W)`; the class with the greatest logit is predicted, or the regions with
            logits above 0.
        target: nnU-Net's, see `losses.binary_targets`; ignored voxels aren't counted.
        labels: the data set's label manager.
    """
    if not labels.has_regions:
        predicted = logits.argmax(1, keepdim=True)
        logits = torch.cat([predicted == index for index in range(1, logits.shape[1])], 1)
    return count_overlap(logits, binary_targets(target, labels), labels)
