"""SERNet: prompt learner and aggregator, the network that is trained, saved and deployed."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import torch
from torch import nn

from ser_nnunet import __version__
from ser_nnunet.errors import UserError
from ser_nnunet.network.aggregator import AGGREGATORS
from ser_nnunet.network.encoder import build_encoder
from ser_nnunet.network.layers import CHANNELS_LAST, LayerFactory, Stride, crop
from ser_nnunet.network.misfit import describe_misfit
from ser_nnunet.network.prompt_learner import PROMPT_CHANNELS, PromptLearner
from ser_nnunet.utils.model_format import EARLIER_FORMATS, MODEL_FORMAT, require_format


@dataclass(frozen=True)
class Preset:
    """A named variant of SERNet.

    Attributes:
        encoder: its name in `ENCODERS` (encoder.py).
        encoder_settings: the encoder's own keyword arguments.
        prompt_level: index of the encoder's feature map whose grid the prompt has.
        max_feature_maps: feature maps that are used at most; small patches use fewer.
        norm, act: normalisation of the network and activation of its encoder and aggregator.
        separable: depthwise separable decoder.
        aggregator: its name in `AGGREGATORS` (aggregator.py): `linear` (the paper's), `detail` or `wide`.
        normalises_patch: each image channel of a patch is instance-normalised before the first convolution. The
            batch normalisation after it uses the training scans' statistics, which a scan of another contrast may not
            fit (docs/research-log.md).
        foreground_prior: the foreground probability that an untrained network predicts; None leaves the last
            convolution's biases at their random initialisation.
        changes: what differs from a model format (utils/model_format.py) on, by the dimension (2 or 3) and that format.
            The latest entry holds.
    """

    encoder: str
    encoder_settings: Mapping[str, Any]
    prompt_level: int
    max_feature_maps: int
    norm: str
    act: str
    separable: bool
    aggregator: str
    normalises_patch: bool = False
    foreground_prior: float | None = None
    changes: Mapping[tuple[int, int], Mapping[str, Any]] = field(default_factory=dict)

    def of_format(self, dimension: int, model_format: int) -> Preset:
        """Return the preset as it was in a model format, in 2D or 3D."""
        known = [number for number in self._changed_in(dimension) if number <= model_format]
        return replace(self, **self.changes[dimension, max(known)]) if known else self

    def model_format(self, dimension: int) -> int:
        """Return the first model format in which the network is the present one, in 2D or 3D."""
        return max(self._changed_in(dimension), default=EARLIER_FORMATS[0])

    def _changed_in(self, dimension: int) -> list[int]:
        return [number for where, number in self.changes if where == dimension]


PRESETS = {
    # The paper's network. HarDNet-85's last stage (stride 32) feeds nothing in the reference and is left out.
    "paper": Preset(
        encoder="hardnet",
        encoder_settings={"config": "85"},
        prompt_level=1,
        max_feature_maps=4,
        norm="batch",
        act="relu6",
        separable=False,
        aggregator="linear",
    ),
    # Ours: 0.55 M parameters for one class and about 0.06 M for every further one (nnU-Net's 2D U-Net in README's
    # table: 20.6 M). Batch normalisation with the channels last is nearly twice as fast as instance normalisation.
    "light": Preset(
        encoder="hardnet",
        encoder_settings={"config": "light"},
        prompt_level=2,
        max_feature_maps=5,
        norm="batch",
        act="leaky_relu",
        separable=True,
        aggregator="detail",
        foreground_prior=0.01,  # as RetinaNet's (Lin et al., arXiv 1708.02002, section 4.1); see docs/research-log.md
        changes={
            (2, 4): {"normalises_patch": True},
            (3, 2): {"encoder_settings": {"config": "light 3D"}},
            (3, 3): {"encoder_settings": {"config": "wide 3D"}, "aggregator": "wide"},
            (3, 4): {"encoder_settings": {"config": "wide 3D"}, "aggregator": "wide", "normalises_patch": True},
        },
    ),
}
"""Variants of SERNet by name: `light` is the default, `paper` the reference network."""


def find_preset(name: str) -> Preset:
    """Return the preset of this name, or raise ValueError."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: expected one of {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


def _require_known_settings(model_format: int, deep_supervision: bool, later: Mapping[str, Any]) -> None:
    """Raise UserError for plans of another version, and NotImplementedError for deep supervision."""
    require_format(model_format, "the plan's network SERNet")
    if later:
        raise UserError(
            f"the plan's network SERNet has settings that ser-nnunet {__version__} doesn't know "
            f"({', '.join(later)}): the model is from a later version, pip install --upgrade ser-nnunet"
        )
    if deep_supervision:
        raise NotImplementedError(
            "SERNet has no deep supervision: leave enable_deep_supervision False in trainers of your own"
        )


class SERNet(nn.Module):
    """Prompt learner plus aggregator; the arguments are JSON values, so that nnU-Net's plans can name this class.

    Args:
        input_channels: image channels C.
        num_classes: logits K (nnU-Net's segmentation heads).
        patch_size: the plan's patch; its length is the dimension (2 or 3) and its edges limit the network's depth.
        strides: the plan's strides, first entry 1; only their anisotropy is used (an axis that nnU-Net doesn't halve
            at a step, this network doesn't halve either). Missing entries are 2.
        kernel_sizes: the plan's kernel for each of the strides; missing entries are 3.
        num_prompts: P, the number of foreground classes or regions; K - 1 by default.
        preset: `light` (default) or `paper`.
        deep_supervision: passed by nnU-Net; must be false.
        model_format: the format of the weights that will be loaded, `utils/model_format.py`. Plans before 0.2.0 don't
            name it.
        image_channels: how many of the input channels, the first ones, are the image's; all by default. The others are
            the masks of a cascade's previous stage, 0 or 1, which aren't normalised.
        later: settings of later versions; none is known.

    Raises:
        UserError: plans of another version; says which one.

    Shape:
        input `(B, C, *size)`, any size (not only the plan's, nor multiples of the strides);
        output in eval mode: logits `(B, K, *size)`; in training: `(logits, prompt)` with the prompt in (-1, 1) and of
        shape `(B, P, 256, *ceil(size / 4))`.

    Weights and features are stored with the channels last: the same results, a third faster on the CPU in 2D.

    `forward(patch, detach_prompt=True)` trains the aggregator without touching the prompt learner (the guided phase).
    It is an argument rather than an attribute, so that torch.compile guards on it.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        patch_size: Sequence[int],
        strides: Sequence[Stride] = (),
        num_prompts: int | None = None,
        preset: str = "light",
        deep_supervision: bool = False,
        kernel_sizes: Sequence[Stride] = (),
        model_format: int = MODEL_FORMAT,
        image_channels: int | None = None,
        **later: Any,
    ) -> None:
        super().__init__()
        _require_known_settings(model_format, deep_supervision, later)
        self.dimension = len(patch_size)
        chosen = find_preset(preset).of_format(self.dimension, model_format)
        self.num_prompts = num_prompts or max(num_classes - 1, 1)
        grids = accumulate(strides, lambda total, step: tuple(map(operator.mul, total, step)))
        kernels = {tuple(grid): tuple(kernel) for grid, kernel in zip(grids, kernel_sizes, strict=False)}
        layers = LayerFactory(self.dimension, chosen.norm, chosen.act, kernels)
        encoder = build_encoder(
            chosen.encoder,
            chosen.encoder_settings,
            input_channels=input_channels,
            layers=layers,
            strides=strides[1:],
            patch_size=patch_size,
            at_least=chosen.prompt_level + 1,
            at_most=chosen.max_feature_maps,
        )
        self.prompt_learner = PromptLearner(
            encoder,
            layers,
            self.num_prompts,
            chosen.prompt_level,
            chosen.separable,
            normalised_channels=(image_channels or input_channels) if chosen.normalises_patch else 0,
        )
        self.aggregator = AGGREGATORS[chosen.aggregator](
            self.num_prompts * PROMPT_CHANNELS, num_classes, encoder.feature_info[: chosen.prompt_level + 1], layers
        )
        if chosen.foreground_prior is not None:
            bias = self.aggregator.get_parameter("last.seg_layers.bias")
            set_foreground_prior(bias, chosen.foreground_prior, exclusive=num_classes > self.num_prompts)
        self.to(memory_format=CHANNELS_LAST[self.dimension])

    def forward(
        self, patch: torch.Tensor, detach_prompt: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return logits in eval mode, `(logits, prompt)` in training mode (shapes: see the class)."""
        # PyTorch's pooling on MPS aborts on channels-last features; ONNX knows no memory formats
        if patch.device.type != "mps" and not torch.onnx.is_in_onnx_export():
            patch = patch.contiguous(memory_format=CHANNELS_LAST[self.dimension])
        prompt, fine = self.prompt_learner(patch)
        if detach_prompt:
            logits = self.aggregator(prompt.detach(), [features.detach() for features in fine])
        else:
            logits = self.aggregator(prompt, fine)
        logits = crop(logits, patch.shape[2:]).contiguous()
        return (logits, prompt.unflatten(1, (self.num_prompts, PROMPT_CHANNELS))) if self.training else logits

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights as every module does.

        Raises:
            UserError: instead of torch's list of tensors, one sentence that counts them and names their version.
        """
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError:
            misfit = describe_misfit(self.state_dict(), state_dict)
            if not misfit:  # torch has another reason
                raise
            raise UserError(misfit) from None


def set_foreground_prior(bias: torch.Tensor, probability: float, exclusive: bool) -> None:
    """Set the last convolution's biases so that an untrained network predicts foreground with a given probability.

    With random biases, the first iterations of training are spent on learning that most of an image is background.

    Args:
        bias: one per class or region.
        probability: of all foreground classes together (exclusive classes), or of each region.
        exclusive: classes of a softmax, background first; otherwise regions with one sigmoid each.
    """
    odds = (1 - probability) / probability
    with torch.no_grad():
        if exclusive:
            bias.zero_()
            bias[0] = math.log(odds * (len(bias) - 1))
        else:
            bias.fill_(-math.log(odds))


def architecture(
    patch_size: Sequence[int],
    strides: Sequence[Stride],
    num_prompts: int,
    preset: str,
    kernel_sizes: Sequence[Stride] = (),
    image_channels: int | None = None,
) -> dict[str, Any]:
    """Return the `architecture` entry of an nnU-Net plan whose network is a SERNet of these sizes."""
    dimension = len(patch_size)
    model_format = find_preset(preset).model_format(dimension)
    normalises = find_preset(preset).of_format(dimension, model_format).normalises_patch
    cascade = {"image_channels": int(image_channels)} if normalises and image_channels is not None else {}
    return {
        "network_class_name": f"{SERNet.__module__}.{SERNet.__qualname__}",
        "arch_kwargs": {
            "patch_size": [int(edge) for edge in patch_size],
            "strides": [[int(step) for step in stride] for stride in strides],
            "num_prompts": int(num_prompts),
            "preset": preset,
            "kernel_sizes": [[int(edge) for edge in kernel] for kernel in kernel_sizes],
            "model_format": model_format,
            **cascade,
        },
        "_kw_requires_import": [],
    }
