"""Layers whose training in 3D needs less memory: activation checkpointing of their convolutions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class CheckpointedLayers(nn.Sequential):
    """A `nn.Sequential` of which several inputs are concatenated along the channels.

    A training step in 3D is limited by the memory for features. There, the concatenated features and those between the
    leading convolutions are computed again in the backward pass (activation checkpointing) instead of being kept: both
    need little computation. If the first layer is a `CheckpointedLayers` itself, the same holds for its convolutions.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.leading = 0  # convolutions before the first other layer
        while self.leading < len(layers) and isinstance(layers[self.leading], nn.Conv2d | nn.Conv3d):
            self.leading += 1

    def forward(
        self,
        input: torch.Tensor,
        *others: torch.Tensor,
        enlarge: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Return the layers' features, `(B, channels of the last layer, *its grid)`.

        Args:
            input: `(B, C, *grid)`; with `enlarge` on a coarser grid.
            others: `(B, any, *grid)` each, concatenated to `input` in this order.
            enlarge: brings `input` to the grid of `others`, without random numbers or running averages.
        """

        def convolve(input: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
            features = enlarge(input) if enlarge else input
            if others:
                features = torch.cat([features, *others], 1)
            for convolution in list(self)[: self.leading]:
                features = convolution(features)
            return features

        features: torch.Tensor
        rest = list(self)[self.leading :]
        if rest and isinstance(rest[0], CheckpointedLayers) and not self.leading:
            features = rest.pop(0)(input, *others, enlarge=enlarge)
        elif self.training and input.ndim == 5 and (others or self.leading > 1):
            features = checkpoint(convolve, input, *others, use_reentrant=False, preserve_rng_state=False)
        else:
            features = convolve(input, *others)
        for layer in rest:
            features = layer(features)
        return features
