"""Which slices of a batch pass through SAM."""

from __future__ import annotations

from typing import NamedTuple

import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from ser_nnunet.training.losses import split_ignored

FOREGROUND_SHARE = 0.85  # the paper's sampling: 85 % of the slices that SAM sees hold foreground


class GuidedSlices(NamedTuple):
    """The 2D slices of a batch that SAM sees, S of them.

    Attributes:
        data: the images `(S, C, H, W)`.
        prompt: the dense prompts of the same slices, `(S, P, 256, H/stride, W/stride)`.
        logits: the network's output `(S, K, H, W)`.
        targets: `(S, P (+ 1), H, W)` as from `losses.binary_targets`.
    """

    data: torch.Tensor
    prompt: torch.Tensor
    logits: torch.Tensor
    targets: torch.Tensor


def choose_slices(targets: torch.Tensor, labels: LabelManager, limit: int) -> torch.Tensor:
    """Return the indices of at most `limit` slices that pass through SAM, in rising order.

    85 % of them (rounded to nearest, at least one) hold foreground where the batch has as many, the rest annotated
    background; too few of one kind are replaced by the other. Slices without any annotated pixel come last. Within a
    kind the batch's last slices are taken first: nnU-Net puts those there that it sampled for their class;
    otherwise slices with a rare class would seldom be chosen.

    Args:
        targets: `(B, P (+ 1), H, W)` as from `losses.binary_targets`.
        labels: the data set's label manager.
        limit: at least 1.
    """
    foreground, counts = split_ignored(targets, labels)
    has_foreground = (foreground & counts).flatten(1).any(1).tolist()
    annotated = counts.flatten(1).any(1).tolist()
    kinds: tuple[list[int], list[int], list[int]] = ([], [], [])
    for index in reversed(range(len(targets))):
        kinds[0 if has_foreground[index] else 1 if annotated[index] else 2].append(index)
    wanted = max(1, round(FOREGROUND_SHARE * limit))
    order = kinds[0][:wanted] + kinds[1] + kinds[0][wanted:] + kinds[2]
    return torch.tensor(sorted(order[:limit]), device=targets.device)
