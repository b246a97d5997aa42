"""The few layers that every part is built from, in 2D and 3D from one definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

Stride = Sequence[int]  # one number per spatial axis

CONVOLUTION: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_CONVOLUTION: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX_POOL: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
NORMALISATION: dict[tuple[str, int], Any] = {
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
}
INTERPOLATION = {2: "bilinear", 3: "trilinear"}


def normalisation(kind: str, dimension: int, channels: int) -> nn.Module:
    """Return a `batch` or an `instance` normalisation with learned scale and shift."""
    return NORMALISATION[kind, dimension](channels, affine=True)


def activation(kind: str) -> nn.Module:
    """Return `relu6` (HarDNet's own), `relu`, or `leaky_relu` with nnU-Net's slope of 0.01."""
    kinds: dict[str, Any] = {
        "relu6": nn.ReLU6,
        "relu": nn.ReLU,
        "leaky_relu": lambda inplace: nn.LeakyReLU(0.01, inplace=inplace),
    }
    return kinds[kind](inplace=True)


class ConvNormAct(nn.Sequential):
    """Convolution, normalisation and (unless `act` is None) activation; odd kernels, padded to keep the size.

    Args:
        groups: `channels_in` makes the convolution depthwise.
        bias: a bias before a normalisation has no effect; it is there only where a reference counts it.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        dimension: int,
        kernel: int = 3,
        stride: int | Stride = 1,
        groups: int = 1,
        norm: str = "batch",
        act: str | None = "relu6",
        bias: bool = False,
    ) -> None:
        step = stride if isinstance(stride, int) else tuple(stride)
        layers = [
            CONVOLUTION[dimension](channels_in, channels_out, kernel, step, kernel // 2, groups=groups, bias=bias),
            normalisation(norm, dimension, channels_out),
        ]
        if act is not None:
            layers.append(activation(act))
        super().__init__(*layers)


@dataclass(frozen=True)
class LayerFactory:
    """What all layers of a network share: dimension (2 or 3), normalisation and activation."""

    dimension: int = 2
    norm: str = "batch"
    act: str = "relu6"

    def conv(
        self, channels_in: int, channels_out: int, kernel: int = 3, stride: int | Stride = 1, bias: bool = False
    ) -> ConvNormAct:
        """Return convolution, normalisation, activation."""
        return ConvNormAct(
            channels_in,
            channels_out,
            kernel=kernel,
            stride=stride,
            dimension=self.dimension,
            norm=self.norm,
            act=self.act,
            bias=bias,
        )

    def depthwise(self, channels: int, stride: int | Stride = 1) -> ConvNormAct:
        """Return a depthwise 3x3 convolution with normalisation and no activation, as in HarDNet's DS variants."""
        return ConvNormAct(
            channels,
            channels,
            stride=stride,
            groups=channels,
            dimension=self.dimension,
            norm=self.norm,
            act=None,
        )

    def separable(self, channels_in: int, channels_out: int) -> nn.Sequential:
        """Return a 1x1 convolution (with normalisation and activation) followed by a depthwise 3x3 one."""
        return nn.Sequential(self.conv(channels_in, channels_out, kernel=1), self.depthwise(channels_out))


def resize(features: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resample `(B, C, *any)` linearly to `(B, C, *size)`; the very same tensor where the size is right already."""
    if tuple(features.shape[2:]) == tuple(size):
        return features
    return F.interpolate(features, size=tuple(size), mode=INTERPOLATION[features.ndim - 2], align_corners=False)


def pad_to_multiple(patch: torch.Tensor, multiple: Sequence[int]) -> torch.Tensor:
    """Zero-pad `(B, C, *patch)` at the end of each spatial axis up to the next `multiple`."""
    missing = [-size % step for size, step in zip(patch.shape[2:], multiple, strict=True)]
    if not any(missing):
        return patch
    return F.pad(patch, [width for axis in reversed(missing) for width in (0, axis)])


def crop(features: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Cut `(B, C, *larger)` at the end of each spatial axis down to `(B, C, *size)`."""
    return features[(slice(None), slice(None), *(slice(0, edge) for edge in size))]


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters, trainable or not."""
    return sum(parameter.numel() for parameter in module.parameters())
