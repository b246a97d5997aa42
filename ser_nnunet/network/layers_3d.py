"""3D convolutions that are computed by the 2D kernels of the convolution library.

With the channels last in memory, the slices of a volume (rows, columns) and its columns of voxels (depth, rows x
columns) are 2D images without any copy. A training step of a depthwise 3D convolution takes four to six times as long
as that of its two factors, computed in this way (on the CPU: docs/research-log.md, "The 3D network").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class FactorConv3d(nn.Conv3d):
    """A `nn.Conv3d` with the kernel (1, k, l) or (k, 1, 1), odd and padded to keep the size, computed in 2D.

    Args:
        channels_in: of the input.
        channels_out: of the output.
        kernel: 1 along the first axis, or along the other two.
        stride: 1 wherever the kernel is.
        groups: as in `nn.Conv3d`.
        bias: as in `nn.Conv3d`.

    Raises:
        ValueError: another kernel or stride.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        depth, rows, columns = kernel
        within = depth == stride[0] == 1
        if not within and (rows, columns, *stride[1:]) != (1, 1, 1, 1):
            raise ValueError(f"kernel (1, k, l) or (k, 1, 1) expected, with stride 1 there: {kernel}, {stride} given")
        padding = (depth // 2, rows // 2, columns // 2)
        steps = (stride[0], stride[1], stride[2])
        super().__init__(channels_in, channels_out, (depth, rows, columns), steps, padding, groups=groups, bias=bias)
        self.within_slices = within

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the convolution of `(B, C, depth, rows, columns)`."""
        if torch.onnx.is_in_onnx_export():  # engines have 3D kernels of their own, faster than views
            return super().forward(input)
        return self._as_volume(self._convolve_images(input, self.weight), input)

    def _convolve_images(self, input: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the convolution of `(B, C, depth, rows, columns)` as images, which are no view of another tensor."""
        batch, channels, depth, rows, columns = input.shape
        values = input.permute(0, 2, 3, 4, 1)
        if self.within_slices:  # every slice is an image
            values = values.reshape(batch * depth, rows, columns, channels)
            weight, stride = weight[:, :, 0], self.stride[1:]
        else:  # every volume is an image of depth times (rows x columns)
            values = values.reshape(batch, depth, rows * columns, channels)
            weight, stride = weight[..., 0], (self.stride[0], 1)
        padding = [edge // 2 for edge in weight.shape[2:]]
        return F.conv2d(values.permute(0, 3, 1, 2), weight, self.bias, stride, padding, groups=self.groups)

    def _as_volume(self, images: torch.Tensor, input: torch.Tensor) -> torch.Tensor:
        size = [-(-edge // step) for edge, step in zip(input.shape[2:], self.stride, strict=True)]
        return images.permute(0, 2, 3, 1).reshape(len(input), *size, -1).permute(0, 4, 1, 2, 3)


class JoiningConv3d(FactorConv3d):
    """A `FactorConv3d` (one group, no bias) of several inputs, as if they were concatenated along the channels.

    Each is convolved with its part of the kernel, and the results are added: on the full grid the concatenated features
    would be the largest tensor of a training step.
    """

    def forward(self, *parts: torch.Tensor) -> torch.Tensor:
        """Return the convolution of all `(B, C_i, depth, rows, columns)` together."""
        if torch.onnx.is_in_onnx_export():
            return super().forward(torch.cat(parts, 1))
        kernels = self.weight.split([part.shape[1] for part in parts], 1)
        images = self._convolve_images(parts[0], kernels[0])
        for part, kernel in zip(parts[1:], kernels[1:], strict=True):
            images = images.add_(self._convolve_images(part, kernel))
        return self._as_volume(images, parts[0])


def join_factorised(channels_in: int, channels_out: int, kernel: Sequence[int]) -> list[nn.Module]:
    """Return a 3D convolution of several inputs as one across the slices, where the kernel does, and one within them.

    In this order the larger of the two kernels has the fewer channels.
    """
    depth, *plane = kernel
    steps = (1, 1, 1)
    if depth == 1:
        return [JoiningConv3d(channels_in, channels_out, (1, *plane), steps)]
    return [
        JoiningConv3d(channels_in, channels_out, (depth, 1, 1), steps),
        FactorConv3d(channels_out, channels_out, (1, *plane), steps),
    ]


def factorised(
    channels_in: int, channels_out: int, kernel: Sequence[int], stride: Sequence[int], depthwise: bool = False
) -> list[nn.Module]:
    """Return a 3D convolution as one within the slices and, where kernel or stride cross them, one across them."""
    depth, *plane = kernel
    within = FactorConv3d(
        channels_in, channels_out, (1, *plane), (1, *stride[1:]), groups=channels_in if depthwise else 1
    )
    if depth == stride[0] == 1:
        return [within]
    groups = channels_out if depthwise else 1
    return [within, FactorConv3d(channels_out, channels_out, (max(depth, 3), 1, 1), (stride[0], 1, 1), groups)]
