"""HarDNet: harmonic dense blocks and the encoders made of them, in 2D and 3D.

Source: Chao et al., "HarDNet: A Low Memory Traffic Network", ICCV 2019, arXiv 1909.00948. The architecture is written
from the paper; the sizes of the named variants are the published ones and are tested by their parameter counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ser_nnunet.network.layers import MAX_POOL, LayerFactory, Stride


@dataclass(frozen=True)
class HarDNetConfig:
    """The sizes of one variant; the blocks' tuples have one entry per harmonic dense block.

    Attributes:
        stem: channels of the two convolutions before the first block.
        growth: channels that a block's odd layers add (the paper's k).
        multiplier: widening of the layers with more links (the paper's m, 1.6 to 1.9).
        layers: layers of each block (the paper's L).
        widths: channels after each block's 1x1 transition.
        downsample: whether the resolution is halved after the block.
        depthwise: 1x1 plus depthwise 3x3 convolutions instead of 3x3 ones, strided ones instead of pooling ("DS").
        full_resolution_stem: the first convolution keeps the resolution and the second halves it (ours: lesions of
            three voxels need the full grid); HarDNet halves it in the first.
    """

    stem: tuple[int, int]
    growth: tuple[int, ...]
    multiplier: float
    layers: tuple[int, ...]
    widths: tuple[int, ...]
    downsample: tuple[bool, ...]
    depthwise: bool = False
    full_resolution_stem: bool = False


_68 = {
    "stem": (32, 64),
    "growth": (14, 16, 20, 40, 160),
    "multiplier": 1.7,
    "layers": (8, 16, 16, 16, 4),
    "widths": (128, 256, 320, 640, 1024),
    "downsample": (True, False, True, True, False),
}

CONFIGS: dict[str, HarDNetConfig] = {
    "39DS": HarDNetConfig(
        stem=(24, 48),
        growth=(16, 20, 64, 160),
        multiplier=1.6,
        layers=(4, 16, 8, 4),
        widths=(96, 320, 640, 1024),
        downsample=(True, True, True, False),
        depthwise=True,
    ),
    "68DS": HarDNetConfig(**_68, depthwise=True),  # type: ignore[arg-type]
    "68": HarDNetConfig(**_68),  # type: ignore[arg-type]
    "85": HarDNetConfig(
        stem=(48, 96),
        growth=(24, 24, 28, 36, 48, 256),
        multiplier=1.7,
        layers=(8, 16, 16, 16, 16, 4),
        widths=(192, 256, 320, 480, 720, 1280),
        downsample=(True, False, True, False, True, False),
    ),
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
        self, channels_in: int, growth: int, multiplier: float, layers: int, depthwise: bool, style: LayerFactory
    ) -> None:
        super().__init__()
        widths = [channels_in] + [harmonic_width(layer, growth, multiplier) for layer in range(1, layers + 1)]
        make = style.separable if depthwise else style.conv
        self.links = [harmonic_links(layer) for layer in range(1, layers + 1)]
        self.layers = nn.ModuleList(
            make(sum(widths[link] for link in links), width)
            for links, width in zip(self.links, widths[1:], strict=True)
        )
        self.kept = [layer for layer in range(1, layers + 1) if layer % 2 == 1 or layer == layers]
        self.channels_out = sum(widths[layer] for layer in self.kept)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Run the layers in order, each on the concatenation of the layers that it links to."""
        outputs = [features]
        for links, layer in zip(self.links, self.layers, strict=True):
            sources = [outputs[link] for link in links]
            outputs.append(layer(torch.cat(sources, 1) if len(sources) > 1 else sources[0]))
        return torch.cat([outputs[layer] for layer in self.kept], 1)


class HarDNet(nn.Module):
    """The encoder: `(B, input_channels, *patch)` -> one feature map per resolution, from fine to coarse.

    Args:
        config: sizes, or the name of a published variant: `39DS`, `68DS`, `68`, `85`.
        strides: stride of each halving along each axis; 2 everywhere unless a 3D plan says otherwise. Entries that
            are missing are 2.
        resolutions: how many feature maps to build (the rest of the network is left out); all by default.
        num_classes: adds the ImageNet classifier's linear layer (`classify`), for comparison with published counts.

    `feature_info` lists channels and strides of the feature maps.
    """

    def __init__(
        self,
        config: HarDNetConfig | str,
        input_channels: int = 3,
        *,
        style: LayerFactory | None = None,
        strides: Sequence[Stride] = (),
        resolutions: int | None = None,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        self.config = CONFIGS[config] if isinstance(config, str) else config
        self.style = style or LayerFactory()
        self.strides = [tuple(stride) for stride in strides]
        self.feature_info: list[dict] = []
        self.stages = nn.ModuleList(self._stages(input_channels)[:resolutions])
        self.feature_info = self.feature_info[:resolutions]
        self.classifier = nn.Linear(self.config.widths[-1], num_classes) if num_classes else None

    def _stride(self, halving: int) -> tuple[int, ...]:
        return self.strides[halving] if halving < len(self.strides) else (2,) * self.style.dimension

    def _stem(self, input_channels: int) -> list[nn.Sequential]:
        """Return the stages before the first block's resolution; the last one's output still wants downsampling."""
        first, second = self.config.stem
        kernel = 1 if self.config.depthwise and not self.config.full_resolution_stem else 3
        if self.config.full_resolution_stem:
            entry = self.style.conv(input_channels, first)
            self._announce(first, [])
            self._announce(second, [0])
            return [nn.Sequential(entry), nn.Sequential(self.style.conv(first, second, kernel, self._stride(0)))]
        self._announce(second, [0])
        entry = self.style.conv(input_channels, first, stride=self._stride(0))
        return [nn.Sequential(entry, self.style.conv(first, second, kernel))]

    def _stages(self, input_channels: int) -> list[nn.Sequential]:
        """Return one stage per resolution; each but the first starts by downsampling the one before."""
        config, stages, halving = self.config, self._stem(input_channels), 1
        channels, layers = config.stem[1], [self._downsample(config.stem[1], halving, first=True)]
        for index, width in enumerate(config.widths):
            block = HarmonicBlock(
                channels, config.growth[index], config.multiplier, config.layers[index], config.depthwise, self.style
            )
            layers += [block, self.style.conv(block.channels_out, width, kernel=1)]
            channels = width
            if config.downsample[index] or index == len(config.widths) - 1:
                stages.append(nn.Sequential(*layers))
                self._announce(width, list(range(halving + 1)))
                halving += 1
                layers = [self._downsample(width, halving)]
        return stages

    def _downsample(self, channels: int, halving: int, first: bool = False) -> nn.Module:
        stride = self._stride(halving)
        if self.config.depthwise:
            return self.style.depthwise(channels, stride)
        pool = MAX_POOL[self.style.dimension]
        return pool(3, stride, 1) if first else pool(stride, stride, ceil_mode=True)

    def _announce(self, channels: int, halvings: list[int]) -> None:
        total = [1] * self.style.dimension
        for halving in halvings:
            total = [whole * step for whole, step in zip(total, self._stride(halving), strict=True)]
        self.feature_info.append({"channels": channels, "stride": tuple(total)})

    def forward(self, patch: torch.Tensor) -> list[torch.Tensor]:
        """Return the feature maps, `(B, channels, *ceil(patch / stride))` each, from fine to coarse."""
        features = [patch]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features[1:]

    def classify(self, image: torch.Tensor) -> torch.Tensor:
        """Return class logits `(B, num_classes)` from the globally averaged last feature map."""
        if self.classifier is None:
            raise ValueError("this HarDNet has no classifier: pass num_classes")
        return self.classifier(self(image)[-1].flatten(2).mean(2))
