"""Encoders: the contract that each of them keeps, their registry, and their depth for a given patch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch

from ser_nnunet.network.hardnet import HarDNet
from ser_nnunet.network.layers import FeatureInfo, LayerFactory, Stride

SMALLEST_GRID = 2  # voxels along each axis at the coarsest stride: a normalisation needs more than one voxel


class Encoder(Protocol):
    """A `torch.nn.Module` that turns a patch into one feature map per resolution.

    Its constructor takes, as keywords, `input_channels` (int), `layers` (`LayerFactory`: the dimension and the layers
    of the network), `strides` (the plan's stride of each downsampling along each axis; 2 where entries are missing),
    `feature_maps` (the number of feature maps to build, from the finest one on; what only coarser ones need is left
    out), and the `encoder_settings` of the presets that use it.

    Attributes:
        feature_info: channels and stride of every feature map, from fine to coarse.
    """

    feature_info: list[FeatureInfo]

    def forward(self, patch: torch.Tensor) -> list[torch.Tensor]:
        """Return the feature maps, `(B, channels, *ceil(patch / stride))` each, from fine to coarse."""
        ...

    def __call__(self, patch: torch.Tensor) -> list[torch.Tensor]:
        """Call `forward`, as every module does."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return parameters and buffers by name, as every module does."""
        ...


ENCODERS: dict[str, Callable[..., Encoder]] = {"hardnet": HarDNet}
"""Encoders by the name that presets use."""


def build_encoder(
    name: str,
    settings: Mapping[str, Any],
    *,
    input_channels: int,
    layers: LayerFactory,
    strides: Sequence[Stride],
    patch_size: Sequence[int],
    at_least: int,
    at_most: int,
) -> Encoder:
    """Build an encoder that is as deep as the patch allows.

    Args:
        name: its name in `ENCODERS`.
        settings: its own keyword arguments.
        input_channels: channels of the patch.
        layers: dimension, normalisation and activation of its layers.
        strides: stride of each downsampling along each axis.
        patch_size: the coarsest feature map keeps `SMALLEST_GRID` voxels along each axis of this patch.
        at_least: feature maps that are built whatever the patch.
        at_most: feature maps that are built for a large patch.

    Raises:
        ValueError: the encoder has fewer than `at_least` feature maps.
    """
    build = partial(ENCODERS[name], input_channels=input_channels, layers=layers, strides=strides, **settings)
    with torch.device("meta"):  # sizes without memory
        feature_info = build(feature_maps=at_most).feature_info
    if len(feature_info) < at_least:
        raise ValueError(f"encoder {name!r}: at least {at_least} feature maps expected, it has {len(feature_info)}")
    fitting = at_least
    for info in feature_info[at_least:]:
        if min(-(-edge // step) for edge, step in zip(patch_size, info.stride, strict=True)) < SMALLEST_GRID:
            break
        fitting += 1
    return build(feature_maps=fitting)
