"""HarDNet: harmonic dense blocks and the encoders made of them, in 2D and 3D.

Source: Chao et al., "HarDNet: A Low Memory Traffic Network", ICCV 2019, arXiv 1909.00948. The architecture is written
from the paper; the sizes of the published variants are tested by their parameter counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from ser_nnunet.network.layers import MAX_POOL, FeatureInfo, LayerFactory, Stride


@dataclass(frozen=True)
class HarDNetConfig:
    """The sizes of one variant; the blocks' tuples have one entry per harmonic dense block.

    Attributes:
        stem: channels of the two convolutions before the first block.
        growth: channels that a block's odd layers add (the paper's k).
        multiplier: widening of the layers with more links (the paper's m, 1.6 to 1.9).
        num_layers: layers of each block (the paper's L).
        widths: channels after each block's 1x1 transition.
        downsample: whether the resolution is halved after the block.
        depthwise: 1x1 plus depthwise 3x3 convolutions instead of 3x3 ones, strided ones instead of pooling ("DS").
        full_resolution_stem: the first convolution keeps the resolution and the second halves it (ours: features of
            the full grid delineate lesions of three voxels); HarDNet halves it in the first.
    """

    stem: tuple[int, int]
    growth: tuple[int, ...]
    multiplier: float
    num_layers: tuple[int, ...]
    widths: tuple[int, ...]
    downsample: tuple[bool, ...]
    depthwise: bool = False
    full_resolution_stem: bool = False


_68 = HarDNetConfig(
    stem=(32, 64),
    growth=(14, 16, 20, 40, 160),
    multiplier=1.7,
    num_layers=(8, 16, 16, 16, 4),
    widths=(128, 256, 320, 640, 1024),
    downsample=(True, False, True, True, False),
)

_light = HarDNetConfig(
    stem=(24, 48),
    growth=(16, 20, 40),
    multiplier=1.6,
    num_layers=(4, 8, 8),
    widths=(96, 192, 320),
    downsample=(True, True, False),
    depthwise=True,
    full_resolution_stem=True,
)

CONFIGS: dict[str, HarDNetConfig] = {
    "39DS": HarDNetConfig(
        stem=(24, 48),
        growth=(16, 20, 64, 160),
        multiplier=1.6,
        num_layers=(4, 16, 8, 4),
        widths=(96, 320, 640, 1024),
        downsample=(True, True, True, False),
        depthwise=True,
    ),
    "68DS": replace(_68, depthwise=True),
    "68": _68,
    "85": HarDNetConfig(
        stem=(48, 96),
        growth=(24, 24, 28, 36, 48, 256),
        multiplier=1.7,
        num_layers=(8, 16, 16, 16, 16, 4),
        widths=(192, 256, 320, 480, 720, 1280),
        downsample=(True, False, True, False, True, False),
    ),
    # Ours, chosen by measurement (docs/research-log.md): 39DS without its last stage, thinner, with a stem on the full
    # grid.
    "light": _light,
    # In 3D most of the memory and time is spent on the full grid.
    "light 3D": replace(_light, stem=(8, 32)),  # of the model format 2
    "wide 3D": replace(_light, stem=(16, 32)),
}


def harmonic_links(layer: int) -> list[int]:
    """Return what feeds `layer` (0 is the block's input): `layer - 2**n` for every 2**n that divides it (section 3)."""
    return [layer - 2**n for n in range(layer.bit_length()) if layer % 2**n == 0]


def harmonic_width(layer: int, growth: int, multiplier: float) -> int:
    """Return the channels of `layer`: growth times multiplier**n for the largest 2**n that divides it, made even."""
    n = len(harmonic_links(layer)) - 1
    return int(int(growth * multiplier**n + 1) / 2) * 2


class HarmonicBlock(nn.Module):
    """A harmonic dense block: `(B, channels_in, *size)` -> `(B, channels_out, *size)`.

    The output concatenates the odd layers and the last one; the even ones stay inside (section 3.1 of the paper).
    """

    def __init__(
        self, channels_in: int, growth: int, multiplier: float, num_layers: int, depthwise: bool, layers: LayerFactory
    ) -> None:
        super().__init__()
        widths = [channels_in] + [harmonic_width(layer, growth, multiplier) for layer in range(1, num_layers + 1)]
        make = layers.separable if depthwise else layers.conv
        self.links = [harmonic_links(layer) for layer in range(1, num_layers + 1)]
        self.layers = nn.ModuleList(
            make(sum(widths[link] for link in links), width)
            for links, width in zip(self.links, widths[1:], strict=True)
        )
        self.kept = [layer for layer in range(1, num_layers + 1) if layer % 2 == 1 or layer == num_layers]
        self.channels_out = sum(widths[layer] for layer in self.kept)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Run the layers in order, each on the concatenation of the layers that it links to."""
        outputs = [features]
        for links, layer in zip(self.links, self.layers, strict=True):
            outputs.append(layer(*(outputs[link] for link in links)))
        return torch.cat([outputs[layer] for layer in self.kept], 1)


class HarDNet(nn.Module):
    """An encoder (`ser_nnunet.network.encoder`): `(B, input_channels, *patch)` -> one feature map per resolution.

    Args:
        config: sizes, or their name in `CONFIGS`: the published `39DS`, `68DS`, `68` and `85`, or `light`.
        layers: dimension, normalisation and activation; 2D with HarDNet's own by default.
        strides: stride of each halving along each axis; 2 everywhere unless a 3D plan says otherwise. Entries that
            are missing are 2.
        feature_maps: how many feature maps to build (the rest of the network is left out); all by default.

    `feature_info` lists channels and strides of the feature maps.
    """

    def __init__(
        self,
        config: HarDNetConfig | str,
        input_channels: int = 3,
        *,
        layers: LayerFactory | None = None,
        strides: Sequence[Stride] = (),
        feature_maps: int | None = None,
    ) -> None:
        super().__init__()
        self.config = CONFIGS[config] if isinstance(config, str) else config
        self.layers = layers or LayerFactory()
        self.strides = [tuple(stride) for stride in strides]
        stages = (self._build_stem(input_channels) + self._build_blocks())[:feature_maps]
        self.stages = nn.ModuleList(stage for stage, _ in stages)
        first = 0 if self.config.full_resolution_stem else 1  # halvings before the first feature map
        self.feature_info = [
            FeatureInfo(channels, self._total_stride(first + index)) for index, (_, channels) in enumerate(stages)
        ]

    def _stride(self, halving: int) -> tuple[int, ...]:
        return self.strides[halving] if halving < len(self.strides) else (2,) * self.layers.dimension

    def _total_stride(self, halvings: int) -> tuple[int, ...]:
        steps = [self._stride(halving) for halving in range(halvings)]
        return tuple(math.prod(axis) for axis in zip((1,) * self.layers.dimension, *steps, strict=True))

    def _on_grid(self, halvings: int) -> LayerFactory:
        return self.layers.on_grid(self._total_stride(halvings))

    def _build_stem(self, input_channels: int) -> list[tuple[nn.Sequential, int]]:
        """Return the stages before the first block's resolution, each with its output channels."""
        first, second = self.config.stem
        halved = self._on_grid(1)
        if self.config.full_resolution_stem:
            entry = self._on_grid(0).conv(input_channels, first, keep_output_alone=True)
            return [
                (nn.Sequential(entry), first),
                (nn.Sequential(halved.conv(first, second, stride=self._stride(0))), second),
            ]
        entry = halved.conv(input_channels, first, stride=self._stride(0))
        return [(nn.Sequential(entry, halved.conv(first, second, kernel=1 if self.config.depthwise else 3)), second)]

    def _build_blocks(self) -> list[tuple[nn.Sequential, int]]:
        """Return one stage per further resolution with its output channels; each downsamples the one before first."""
        config, channels = self.config, self.config.stem[1]
        stages: list[tuple[nn.Sequential, int]] = []
        stage = [self._downsample(channels, 1, first=True)]
        for index, width in enumerate(config.widths):
            layers = self._on_grid(len(stages) + 2)
            block = HarmonicBlock(
                channels,
                config.growth[index],
                config.multiplier,
                config.num_layers[index],
                config.depthwise,
                layers,
            )
            stage += [block, layers.conv(block.channels_out, width, kernel=1)]
            channels = width
            if config.downsample[index] or index == len(config.widths) - 1:
                stages.append((nn.Sequential(*stage), width))
                stage = [self._downsample(width, len(stages) + 1)]
        return stages

    def _downsample(self, channels: int, halving: int, first: bool = False) -> nn.Module:
        stride = self._stride(halving)
        if self.config.depthwise:
            return self._on_grid(halving + 1).depthwise(channels, stride)
        pool = MAX_POOL[self.layers.dimension]
        return pool(3, stride, 1) if first else pool(stride, stride, ceil_mode=True)

    def forward(self, patch: torch.Tensor) -> list[torch.Tensor]:
        """Return the feature maps, `(B, channels, *ceil(patch / stride))` each, from fine to coarse."""
        features = [patch]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features[1:]
