"""The layers that every part of the network is built from, in 2D and 3D from one definition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

Stride = Sequence[int]  # one number per spatial axis

CONVOLUTION: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_CONVOLUTION: dict[int, Callable[..., nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX_POOL: dict[int, Callable[..., nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
NORMALISATION: dict[tuple[str, int], Callable[..., nn.Module]] = {
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
}
ACTIVATION: dict[str, Callable[[], nn.Module]] = {
    "relu6": partial(nn.ReLU6, inplace=True),
    "relu": partial(nn.ReLU, inplace=True),
    "leaky_relu": partial(nn.LeakyReLU, 0.01, inplace=True),
}
INTERPOLATION = {2: "bilinear", 3: "trilinear"}


class ConvNormAct(nn.Sequential):
    """Convolution, normalisation and (unless `act` is None) activation; odd kernels, padded to keep the size.

    Args:
        groups: `channels_in` makes the convolution depthwise.
        norm: `batch` or `instance`, with learned scale and shift.
        act: `relu6` (HarDNet's own), `relu`, or `leaky_relu` with nnU-Net's slope of 0.01.
        bias: a bias before a normalisation has no effect; used only where the reference implementation has one.
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
            NORMALISATION[norm, dimension](channels_out, affine=True),
        ]
        if act is not None:
            layers.append(ACTIVATION[act]())
        super().__init__(*layers)


@dataclass(frozen=True)
class FeatureInfo:
    """An encoder's feature map: its channels and its stride along each axis, relative to the patch."""

    channels: int
    stride: tuple[int, ...]


@dataclass(frozen=True)
class LayerFactory:
    """Makes the layers of a network, which share its dimension (2 or 3), normalisation and activation."""

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
    """Resample `(B, C, *any)` linearly to `(B, C, *size)`; the same tensor where it has that size already."""
    if tuple(features.shape[2:]) == tuple(size):
        return features
    return F.interpolate(features, size=tuple(size), mode=INTERPOLATION[features.ndim - 2], align_corners=False)


def pad_to_multiple(patch: torch.Tensor, multiple: Sequence[int], mode: str = "constant") -> torch.Tensor:
    """Pad `(B, C, *patch)` at the end of each spatial axis up to the next `multiple`: by 0, or as `mode` of F.pad."""
    missing = [-size % step for size, step in zip(patch.shape[2:], multiple, strict=True)]
    if not any(missing):
        return patch
    return F.pad(patch, [width for axis in reversed(missing) for width in (0, axis)], mode=mode)


def crop(features: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Cut `(B, C, *larger)` at the end of each spatial axis down to `(B, C, *size)`."""
    return features[(slice(None), slice(None), *(slice(0, edge) for edge in size))]


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters, trainable or not; shared ones count once."""
    return sum(parameter.numel() for parameter in module.parameters())
