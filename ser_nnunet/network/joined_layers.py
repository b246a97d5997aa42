"""Layers of joined features, which need less memory for a training step in 3D."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class JoinedLayers(nn.Sequential):
    """A `nn.Sequential` of features that are joined along the channels; it begins with convolutions, or with another.

    A training step in 3D is limited by the memory for features. There the joined features, a copy, and those between
    convolutions that follow one another are computed again in the backward pass instead of being kept until then.
    """

    def forward(
        self,
        input: torch.Tensor,
        *others: torch.Tensor,
        enlarge: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Return the layers' features.

        Args:
            input: `(B, C, *grid)`.
            others: `(B, any, *grid)` each, joined to `input` in this order.
            enlarge: brings `input` to the grid of `others`, without random numbers or running averages.
        """

        def join(input: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
            enlarged = enlarge(input) if enlarge else input
            return torch.cat([enlarged, *others], 1) if others else enlarged

        def convolve(*features: torch.Tensor) -> torch.Tensor:
            result = join(*features)
            for convolution in convolutions:
                result = convolution(result)
            return result

        features: torch.Tensor
        convolutions = list(takewhile(is_convolution, self))
        rest = list(self)[max(len(convolutions), 1) :]
        if not convolutions:
            features = self[0](input, *others, enlarge=enlarge)
        elif self.training and input.ndim == 5 and (others or len(convolutions) > 1):
            features = checkpoint(convolve, input, *others, use_reentrant=False, preserve_rng_state=False)
        else:
            features = convolve(input, *others)
        for layer in rest:
            features = layer(features)
        return features


def is_convolution(layer: nn.Module) -> bool:
    """Whether the layer is a convolution, of which the backward pass needs the input alone."""
    return isinstance(layer, nn.Conv2d | nn.Conv3d)
