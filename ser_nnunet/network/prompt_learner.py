"""The dense prompt learner: an encoder and a small decoder that ends in SAM's dense prompt embedding.

Source: the paper (Pattern Recognition Letters 199, 2026, 205-211) and AutoSAM (arXiv 2306.06370), whose decoder joins
strides 16, 8 and 4 and closes with tanh.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from torch import nn

from ser_nnunet.network.checkpointed_layers import CheckpointedLayers
from ser_nnunet.network.encoder import Encoder
from ser_nnunet.network.label_layers import LabelDependent
from ser_nnunet.network.layers import CONVOLUTION, LayerFactory, PatchNorm, pad_to_multiple, resize

PROMPT_CHANNELS = 256  # SAM's prompt embedding dimension


class Fusion(nn.Module):
    """Upsample coarse features, concatenate the fine ones, convolve to the fine ones' channels.

    Args:
        separable: one 1x1 convolution and a depthwise 3x3 one, instead of the reference's two 3x3 convolutions.
    """

    def __init__(self, coarse: int, fine: int, layers: LayerFactory, separable: bool) -> None:
        super().__init__()
        if separable:
            self.convs = layers.separable(coarse + fine, fine, keep_output_alone=True)
        else:
            self.convs = CheckpointedLayers(
                layers.conv(coarse + fine, fine, bias=True),
                layers.conv(fine, fine, bias=True),
            )

    def forward(self, coarse: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
        """Return features of the fine ones' shape."""
        features: torch.Tensor = self.convs(coarse, fine, enlarge=partial(resize, size=fine.shape[2:]))
        return features


class PromptLearner(nn.Module):
    """`(B, C, *patch)` -> prompts in (-1, 1), `(B, P * 256, *ceil(patch / prompt_stride))`, and the finer features.

    Args:
        encoder: feature maps from fine to coarse; those from `prompt_level` on are decoded.
        layers: dimension and normalisation of the decoder; its activation is the reference's leaky ReLU.
        num_prompts: P, one prompt per foreground class or region.
        prompt_level: index of the feature map whose grid the prompt has (stride 4 in the paper).
        separable: a light decoder and a 1x1 convolution as head; otherwise the reference's, with 3x3 convolutions.
        normalised_channels: how many of the patch's C channels are instance-normalised first (`PatchNorm`).
    """

    def __init__(
        self,
        encoder: Encoder,
        layers: LayerFactory,
        num_prompts: int,
        prompt_level: int,
        separable: bool,
        normalised_channels: int = 0,
    ) -> None:
        super().__init__()
        self.patch_norm = PatchNorm(normalised_channels) if normalised_channels else nn.Identity()
        self.encoder = encoder
        self.prompt_level = prompt_level
        self.prompt_stride = encoder.feature_info[prompt_level].stride
        layers = replace(layers, act="leaky_relu")
        decoded = encoder.feature_info[prompt_level:]
        self.fusions = nn.ModuleList(
            Fusion(coarse.channels, fine.channels, layers.on_grid(fine.stride), separable)
            for fine, coarse in reversed(list(pairwise(decoded)))
        )
        layers, width = layers.on_grid(self.prompt_stride), decoded[0].channels
        out, convolution = num_prompts * PROMPT_CHANNELS, CONVOLUTION[layers.dimension]
        if separable:
            self.head = nn.Sequential(LabelDependent(convolution(width, out, 1)), nn.Tanh())
        else:
            self.head = nn.Sequential(
                replace(layers, act="relu").conv(width, PROMPT_CHANNELS),
                LabelDependent(convolution(PROMPT_CHANNELS, out, 3, padding=1, bias=False)),
                nn.Tanh(),
            )

    def forward(self, patch: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return `(prompts, features on the grids finer than the prompts', from fine to coarse)`.

        Patches whose edges aren't multiples of the prompt's stride are padded at the end, by zeros.
        """
        features = self.encoder(pad_to_multiple(self.patch_norm(patch), self.prompt_stride))
        decoded = features[-1]
        for fusion, fine in zip(self.fusions, reversed(features[self.prompt_level : -1]), strict=True):
            decoded = fusion(decoded, fine)
        return self.head(decoded), features[: self.prompt_level]
