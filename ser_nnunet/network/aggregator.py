"""Aggregators: from the dense prompt embedding to segmentation logits, without SAM.

Each is built from `channels` (of the prompts), `num_classes`, the encoder's `feature_info` from the finest grid to the
prompt's, and the network's `layers`; `forward(prompt, fine)` takes the encoder's features on the grids finer than the
prompt's, from fine to coarse. The first layer and the last one are `LabelDependent`. The last convolution is named
`last`: its bias sets the initial foreground probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ser_nnunet.network.label_layers import LabelDependent
from ser_nnunet.network.layers import (
    CONVOLUTION,
    TRANSPOSED_CONVOLUTION,
    FeatureInfo,
    LayerFactory,
    resize,
)
from ser_nnunet.network.layers_3d import FactorConv3d


class LinearAggregator(nn.Module):
    """The paper's aggregator: 1x1 convolutions 256 -> 128 -> 64 -> classes with two linear upsamplings, all linear.

    41,282 parameters for one prompt and two classes. The encoder's fine features are not used.
    """

    def __init__(
        self, channels: int, num_classes: int, feature_info: Sequence[FeatureInfo], layers: LayerFactory
    ) -> None:
        super().__init__()
        convolution = CONVOLUTION[layers.dimension]
        self.stride = feature_info[-1].stride
        self.halfway = [step // 2 if step > 2 else 1 for step in self.stride]
        self.first = LabelDependent(convolution(channels, 128, 1))
        self.second = convolution(128, 64, 1)
        self.last = LabelDependent(convolution(64, num_classes, 1))

    def forward(self, prompt: torch.Tensor, fine: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return logits `(B, num_classes, *prompt grid * stride)`."""
        full = [size * step for size, step in zip(prompt.shape[2:], self.stride, strict=True)]
        half = [size // step for size, step in zip(full, self.halfway, strict=True)]
        features = self.second(resize(self.first(prompt), half))
        logits: torch.Tensor = self.last(resize(features, full))
        return logits


class DetailAggregator(nn.Module):
    """Ours: upsamples the prompt to the full grid step by step and joins the encoder's features of each finer grid.

    A prompt at stride 4 is coarse for lesions of three voxels; the encoder's fine features restore their boundaries. A
    transposed convolution whose kernel equals its stride is a pixel shuffle that also exists in 3D. The convolutions
    that join the features are separable, except on the full grid, where an ordinary one of few channels reached a
    higher Dice (docs/research-log.md).

    Raises:
        ValueError: the encoder's first feature map lacks the patch's full resolution.
    """

    COARSER = 32  # channels on the grids coarser than the full one
    FULL: Mapping[int, int] = {2: 16, 3: 8}  # on the full grid, by dimension
    UPSAMPLED: Mapping[int, int] = {2: 16, 3: 8}  # of the upsampled features that are joined there

    def __init__(
        self, channels: int, num_classes: int, feature_info: Sequence[FeatureInfo], layers: LayerFactory
    ) -> None:
        super().__init__()
        finest = feature_info[0].stride
        if any(step != 1 for step in finest):
            raise ValueError(
                "the detail aggregator needs an encoder whose first feature map has full resolution, this one has "
                f"stride {finest}: use the linear aggregator with this encoder"
            )
        self.upsamplings, self.joins = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(feature_info) - 1)):
            fine, coarse = feature_info[level], feature_info[level + 1]
            step = tuple(whole // part for whole, part in zip(coarse.stride, fine.stride, strict=True))
            width = self.COARSER if level else self.FULL[layers.dimension]
            upsampled = width if level else self.UPSAMPLED[layers.dimension]
            on_grid = layers.on_grid(fine.stride)
            upsampling = TRANSPOSED_CONVOLUTION[layers.dimension](channels, upsampled, step, step)
            self.upsamplings.append(upsampling if self.upsamplings else LabelDependent(upsampling))
            if level:
                self.joins.append(on_grid.separable(upsampled + fine.channels, width, keep_output_alone=True))
            else:
                self.joins.append(self.join_on_full_grid(on_grid, upsampled + fine.channels, width))
            channels = width
        if layers.dimension == 3:  # an ordinary one returns its gradient with the channels first, which is copied then
            self.last = LabelDependent(FactorConv3d(channels, num_classes, (1, 1, 1), (1, 1, 1), bias=True))
        else:
            self.last = LabelDependent(CONVOLUTION[2](channels, num_classes, 1))

    @staticmethod
    def join_on_full_grid(layers: LayerFactory, channels_in: int, channels_out: int) -> nn.Module:
        """Return the layers that join the upsampled features and the encoder's on the full grid."""
        return layers.factorised(channels_in, channels_out)

    def forward(self, prompt: torch.Tensor, fine: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return logits `(B, num_classes, *full grid)`."""
        if not self.joins:  # the prompt is on the full grid
            logits: torch.Tensor = self.last(prompt)
            return logits
        features, last = prompt, len(self.joins) - 1
        for level, (upsample, join) in enumerate(zip(self.upsamplings, self.joins, strict=True)):
            head = self.last if level == last else None
            features = join(features, fine[last - level], enlarge=upsample, head=head)
        return features


class WideAggregator(DetailAggregator):
    """The same with 16 channels on the full grid in 3D, too, for lesions of few voxels."""

    FULL: Mapping[int, int] = {2: 16, 3: 16}

    @staticmethod
    def join_on_full_grid(layers: LayerFactory, channels_in: int, channels_out: int) -> nn.Module:
        """Return layers whose 3D convolution goes across the slices first."""
        return layers.joining(channels_in, channels_out)


AGGREGATORS: dict[str, type[nn.Module]] = {
    "linear": LinearAggregator,
    "detail": DetailAggregator,
    "wide": WideAggregator,
}
"""Aggregators by the name that presets use."""
