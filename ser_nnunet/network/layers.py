"""The layers that every part of the network is built from, in 2D and 3D from one definition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from ser_nnunet.network.checkpointed_layers import CheckpointedLayers
from ser_nnunet.network.layers_3d import FactorConv3d, factorised, join_factorised

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


@dataclass(frozen=True)
class FeatureInfo:
    """An encoder's feature map: its channels and its stride along each axis, relative to the patch."""

    channels: int
    stride: tuple[int, ...]


@dataclass(frozen=True)
class LayerFactory:
    """Makes the layers of a network, which share its dimension (2 or 3), normalisation and activation.

    Attributes:
        dimension: 2 or 3. In 3D, depthwise convolutions are factorised (see `FactorConv3d`).
        norm: `batch` or `instance`, with learned scale and shift.
        act: `relu6` (HarDNet's own), `relu`, or `leaky_relu` with nnU-Net's slope of 0.01.
        kernels: the plan's kernel by the stride of the grid, for grids where it isn't 3 along every axis: nnU-Net
            convolves within the slices alone as long as these are much further apart than the pixels.
        grid: stride of the grid that the layers are for (`on_grid`); the full grid by default.
    """

    dimension: int = 2
    norm: str = "batch"
    act: str = "relu6"
    kernels: Mapping[tuple[int, ...], tuple[int, ...]] = field(default_factory=dict)
    grid: tuple[int, ...] = ()

    def on_grid(self, stride: Stride) -> LayerFactory:
        """Return a factory for layers on the grid of this stride, relative to the patch."""
        return replace(self, grid=tuple(stride))

    @property
    def kernel(self) -> tuple[int, ...]:
        """The kernel of convolutions on the grid."""
        return self.kernels.get(self.grid or (1,) * self.dimension, (3,) * self.dimension)

    def conv(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 3,
        stride: int | Stride = 1,
        bias: bool = False,
        keep_output_alone: bool = False,
    ) -> CheckpointedLayers:
        """Return convolution, normalisation, activation; `kernel` is 1, or 3 for the kernel of the grid."""
        edges, steps = self.kernel if kernel > 1 else (1,) * self.dimension, self._steps(stride)
        if len(edges) == 3 and edges[0] == steps[0] == 1:
            convolution: nn.Module = FactorConv3d(channels_in, channels_out, edges, steps, bias=bias)
        else:
            padding = tuple(edge // 2 for edge in edges)
            convolution = CONVOLUTION[self.dimension](channels_in, channels_out, edges, steps, padding, bias=bias)
        layers = (convolution, self._normalisation(channels_out), ACTIVATION[self.act]())
        return CheckpointedLayers(*layers, keep_output_alone=keep_output_alone)

    def joining(self, channels_in: int, channels_out: int) -> CheckpointedLayers:
        """Return convolution of several inputs, normalisation, activation; in 3D, across the slices first."""
        if self.dimension == 2:
            return self.conv(channels_in, channels_out)
        convolutions = join_factorised(channels_in, channels_out, self.kernel)
        return CheckpointedLayers(*convolutions, self._normalisation(channels_out), ACTIVATION[self.act]())

    def factorised(self, channels_in: int, channels_out: int) -> CheckpointedLayers:
        """Return convolution, normalisation, activation; in 3D, within the slices first and then across them."""
        if self.dimension == 2:
            return self.conv(channels_in, channels_out)
        convolutions = factorised(channels_in, channels_out, self.kernel, self._steps(1))
        return CheckpointedLayers(*convolutions, self._normalisation(channels_out), ACTIVATION[self.act]())

    def depthwise(self, channels: int, stride: int | Stride = 1) -> CheckpointedLayers:
        """Return a depthwise convolution with normalisation and no activation, as in HarDNet's DS variants."""
        steps = self._steps(stride)
        if self.dimension == 3:
            convolutions = factorised(channels, channels, self.kernel, steps, depthwise=True)
        else:
            padding = tuple(edge // 2 for edge in self.kernel)
            convolution = CONVOLUTION[2]
            convolutions = [convolution(channels, channels, self.kernel, steps, padding, groups=channels, bias=False)]
        return CheckpointedLayers(*convolutions, self._normalisation(channels))

    def separable(self, channels_in: int, channels_out: int, keep_output_alone: bool = False) -> CheckpointedLayers:
        """Return a 1x1 convolution (with normalisation and activation) followed by a depthwise one."""
        layers = (self.conv(channels_in, channels_out, kernel=1), self.depthwise(channels_out))
        return CheckpointedLayers(*layers, keep_output_alone=keep_output_alone)

    def _steps(self, stride: int | Stride) -> tuple[int, ...]:
        return (stride,) * self.dimension if isinstance(stride, int) else tuple(stride)

    def _normalisation(self, channels: int) -> nn.Module:
        return NORMALISATION[self.norm, self.dimension](channels, affine=True)


CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
"""PyTorch's memory format by dimension."""


class PatchNorm(nn.GroupNorm):
    """Instance normalisation of a patch's first channels, with learned scale and shift; the others stay as they are.

    It is group normalisation with one channel per group, the same formula: PyTorch's instance normalisation copies
    tensors whose channels are last. Their axes are flattened, because PyTorch's group normalisation of tensors whose
    channels are last is inexact on the CPU, by more than the patch's contrast where that is low (2.14).

    Args:
        channels: how many are normalised.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        """Return a patch `(B, C, *size)` of the same shape."""
        image, others = patch[:, : self.num_channels], patch[:, self.num_channels :]
        exported, last = torch.onnx.is_in_onnx_export(), CHANNELS_LAST[patch.ndim - 2]
        if exported:  # ONNX knows no memory formats
            normalised = super().forward(image)
        else:
            normalised = super().forward(image.flatten(2)).unflatten(2, image.shape[2:])
        result = torch.cat([normalised, others], 1) if others.shape[1] else normalised
        keep_format = not exported and patch.is_contiguous(memory_format=last)
        return result.contiguous(memory_format=last) if keep_format else result


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
