"""Which slices of a batch pass through SAM: those of a 2D batch, or slices that are cut from 3D patches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from ser_nnunet.training.losses import split_ignored

THICK = 2.0  # spacing relative to the finest axis from which nnU-Net, too, treats an axis as the one across the slices
FOREGROUND_SHARE = 0.85  # the paper's sampling: 85 % of the slices that SAM sees hold foreground


class GuidedSlices(NamedTuple):
    """The 2D slices of a batch that SAM sees, S of them.

    Attributes:
        data: the images `(S, C, H, W)`.
        prompt: the dense prompts of the same slices, `(S, P, 256, H/stride, W/stride)`.
        logits: the network's output `(S, K, H, W)`.
        targets: `(S, P (+ 1), H, W)` as from `losses.binary_targets`.
        prompt_stride: of the prompts along the slices' two axes.
    """

    data: torch.Tensor
    prompt: torch.Tensor
    logits: torch.Tensor
    targets: torch.Tensor
    prompt_stride: tuple[int, int]


def slicing_axes(spacing: Sequence[float]) -> tuple[int, ...]:
    """Return the axes across which a 3D patch may be cut into slices for SAM, which is trained on isotropic pictures.

    Args:
        spacing: of the three axes in mm, in the plan's order.

    Returns:
        The axes that leave a slice two finely sampled axes: all three of isotropic data, the one across the acquired
        slices of anisotropic data.
    """
    thick = [axis for axis, edge in enumerate(spacing) if edge >= THICK * min(spacing)]
    if not thick:
        return (0, 1, 2)
    return (thick[0],) if len(thick) == 1 else (max(range(3), key=lambda axis: spacing[axis]),)


def take_slices(volume: torch.Tensor, axis: int, batch: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Return slices `(S, ..., H, W)` of `(B, ..., three axes)`, at positions along `axis` (0 to 2) of batch entries."""
    return volume.movedim(volume.ndim - 3 + axis, 1)[batch, position]


def cut_slices(
    data: torch.Tensor,
    prompt: torch.Tensor,
    logits: torch.Tensor,
    targets: torch.Tensor,
    labels: LabelManager,
    prompt_stride: Sequence[int],
    axis: int,
    limit: int,
    step: int,
) -> GuidedSlices:
    """Return slices across one axis of 3D patches, each with the slice of the prompt that it lies in.

    Args:
        data: `(B, C, D, H, W)`.
        prompt: `(B, P, 256, D/stride, H/stride, W/stride)`.
        logits: `(B, K, D, H, W)`.
        targets: `(B, P (+ 1), D, H, W)` as from `losses.binary_targets`.
        labels: the data set's label manager.
        prompt_stride: of the prompt along the three axes.
        axis: 0 to 2.
        limit: slices at most, chosen as by `choose_slices`.
        step: a number that differs from one training step to the next, so that other slices come first.
    """
    every_slice = targets.movedim(2 + axis, 1)
    depth = every_slice.shape[1]
    chosen = choose_slices(every_slice.flatten(0, 1), labels, limit, spread(len(targets) * depth, step))
    batch, position = chosen // depth, chosen % depth
    plane = tuple(stride for index, stride in enumerate(prompt_stride) if index != axis)
    return GuidedSlices(
        take_slices(data, axis, batch, position),
        take_slices(prompt, axis, batch, position // prompt_stride[axis]),
        take_slices(logits, axis, batch, position),
        every_slice[batch, position],
        (plane[0], plane[1]),
    )


def spread(count: int, step: int) -> list[int]:
    """Return the numbers below `count` in an order whose every beginning is spread evenly over all of them.

    Neighbouring slices of a patch are alike; these are multiples of the golden ratio, modulo 1 (a Kronecker sequence).
    """
    ratio = (5**0.5 - 1) / 2
    return sorted(range(count), key=lambda index: (index + step) * ratio % 1)


def choose_slices(
    targets: torch.Tensor, labels: LabelManager, limit: int, order: Iterable[int] | None = None
) -> torch.Tensor:
    """Return the indices of at most `limit` slices that pass through SAM, in rising order.

    85 % of them (rounded to nearest, at least one) hold foreground where there are as many, the rest annotated
    background; too few of one kind are replaced by the other. Slices without any annotated pixel come last.

    Args:
        targets: `(N, P (+ 1), H, W)` as from `losses.binary_targets`.
        labels: the data set's label manager.
        limit: at least 1.
        order: in which slices of a kind are taken; by default a batch's last ones first: nnU-Net puts those there that
            it sampled for their class, and otherwise slices with a rare class would seldom be chosen.
    """
    foreground, counts = split_ignored(targets, labels)
    has_foreground = (foreground & counts).flatten(1).any(1).tolist()
    annotated = counts.flatten(1).any(1).tolist()
    kinds: tuple[list[int], list[int], list[int]] = ([], [], [])
    for index in reversed(range(len(targets))) if order is None else order:
        kinds[0 if has_foreground[index] else 1 if annotated[index] else 2].append(index)
    wanted = max(1, round(FOREGROUND_SHARE * limit))
    ordered = kinds[0][:wanted] + kinds[1] + kinds[0][wanted:] + kinds[2]
    return torch.tensor(sorted(ordered[:limit]), device=targets.device)
