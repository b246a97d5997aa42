"""Aggregators: from the dense prompt embedding to segmentation logits, without SAM.

Each is built from `channels` (of the prompt), `num_classes`, the encoder's `feature_info` from the finest grid to the
prompt's, and the layers' style; `forward(prompt, fine)` takes the encoder's features on the grids finer than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ser_nnunet.network.layers import CONVOLUTION, TRANSPOSED_CONVOLUTION, LayerFactory, resize


class LinearAggregator(nn.Module):
    """The paper's aggregator: 1x1 convolutions 256 -> 128 -> 64 -> classes with two linear upsamplings, all linear.

    41,282 parameters for one prompt and two classes. The encoder's fine features are not used.
    """

    def __init__(self, channels: int, num_classes: int, info: Sequence[dict[str, Any]], style: LayerFactory) -> None:
        super().__init__()
        convolution = CONVOLUTION[style.dimension]
        self.stride: tuple[int, ...] = info[-1]["stride"]
        self.halfway = [step // 2 if step > 2 else 1 for step in self.stride]
        self.first = convolution(channels, 128, 1)
        self.second = convolution(128, 64, 1)
        self.last = convolution(64, num_classes, 1)

    def forward(self, prompt: torch.Tensor, fine: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return logits `(B, num_classes, *prompt grid * stride)`."""
        grid = prompt.shape[2:]
        full = [size * step for size, step in zip(grid, self.stride, strict=True)]
        half = [size // step for size, step in zip(full, self.halfway, strict=True)]
        features = self.second(resize(self.first(prompt), half))
        return self.last(resize(features, full))


class DetailAggregator(nn.Module):
    """Ours: the prompt climbs back to the full grid, and on every grid it meets the encoder's few fine channels there.

    A prompt at stride 4 is coarse for lesions of three voxels; the fine channels bring the edges back. A transposed
    convolution whose kernel equals its stride is a pixel shuffle that also exists in 3D. All but the last convolution
    are separable: on the full grid, an ordinary one of few channels did better (docs/results.md).
    """

    FULL, COARSER = 16, 32  # channels on the full grid and on the coarser ones

    def __init__(self, channels: int, num_classes: int, info: Sequence[dict[str, Any]], style: LayerFactory) -> None:
        super().__init__()
        self.upsamplings, self.joins = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(info) - 1)):
            width = self.COARSER if level else self.FULL
            step = _between(info[level]["stride"], info[level + 1]["stride"])
            make = style.separable if level else style.conv
            self.upsamplings.append(TRANSPOSED_CONVOLUTION[style.dimension](channels, width, step, step))
            self.joins.append(make(width + info[level]["channels"], width))
            channels = width
        self.last = CONVOLUTION[style.dimension](channels, num_classes, 1)

    def forward(self, prompt: torch.Tensor, fine: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return logits `(B, num_classes, *full grid)`."""
        features = prompt
        for upsample, join, beside in zip(self.upsamplings, self.joins, reversed(fine), strict=True):
            features = join(torch.cat([upsample(features), beside], 1))
        return self.last(features)


def _between(fine: Sequence[int], coarse: Sequence[int]) -> tuple[int, ...]:
    """Return the stride that leads from one grid to the next coarser one."""
    return tuple(whole // part for part, whole in zip(fine, coarse, strict=True))


AGGREGATORS: dict[str, type[nn.Module]] = {"linear": LinearAggregator, "detail": DetailAggregator}
