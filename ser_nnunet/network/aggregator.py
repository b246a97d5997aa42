"""Aggregators: from the dense prompt embedding to segmentation logits, without SAM."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ser_nnunet.network.layers import CONVOLUTION, TRANSPOSED_CONVOLUTION, Style, resize


class LinearAggregator(nn.Module):
    """The paper's aggregator: 1x1 convolutions 256 -> 128 -> 64 -> classes with two linear upsamplings, all linear.

    41,282 parameters for one prompt and two classes. The features of the full grid are not used.
    """

    def __init__(self, channels: int, num_classes: int, stride: Sequence[int], detail: int, style: Style) -> None:
        super().__init__()
        convolution = CONVOLUTION[style.dimension]
        self.halfway = [step // 2 if step > 2 else 1 for step in stride]
        self.stride = tuple(stride)
        self.first = convolution(channels, 128, 1)
        self.second = convolution(128, 64, 1)
        self.last = convolution(64, num_classes, 1)

    def forward(self, prompt: torch.Tensor, detail: torch.Tensor) -> torch.Tensor:
        """Return logits `(B, num_classes, *prompt grid * stride)`."""
        grid = prompt.shape[2:]
        full = [size * step for size, step in zip(grid, self.stride, strict=True)]
        half = [size // step for size, step in zip(full, self.halfway, strict=True)]
        features = self.second(resize(self.first(prompt), half))
        return self.last(resize(features, full))


class DetailAggregator(nn.Module):
    """Ours: learned upsampling of the prompt, joined with the features of the full grid, then a small nonlinear head.

    A prompt at stride 4 is coarse for lesions of three voxels; the full grid's few channels bring the edges back. The
    transposed convolution whose kernel equals its stride is a pixel shuffle that also exists in 3D.
    """

    WIDTH = 16

    def __init__(self, channels: int, num_classes: int, stride: Sequence[int], detail: int, style: Style) -> None:
        super().__init__()
        step = tuple(stride)
        self.upsample = TRANSPOSED_CONVOLUTION[style.dimension](channels, self.WIDTH, step, step)
        self.join = style.conv(self.WIDTH + detail, detail)
        self.last = CONVOLUTION[style.dimension](detail, num_classes, 1)

    def forward(self, prompt: torch.Tensor, detail: torch.Tensor) -> torch.Tensor:
        """Return logits `(B, num_classes, *grid of detail)`."""
        return self.last(self.join(torch.cat([self.upsample(prompt), detail], 1)))


AGGREGATORS: dict[str, type[nn.Module]] = {"linear": LinearAggregator, "detail": DetailAggregator}
