"""Layers whose training in 3D needs less memory: activation checkpointing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ser_nnunet.network.layers_3d import JoiningConv3d

Enlarge = Callable[[torch.Tensor], torch.Tensor]


class CheckpointedLayers(nn.Sequential):
    """A `nn.Sequential` of which several inputs are concatenated along the channels.

    A training step in 3D is limited by the memory for features. There, the concatenated features and those between the
    leading convolutions are computed again in the backward pass (activation checkpointing) instead of being kept: both
    need little computation. If the first layer is a `CheckpointedLayers` itself, the same holds for its convolutions.

    Args:
        layers: convolutions first.
        keep_output_alone: compute everything but the layers' output again: for layers of few operations with large
            features.
    """

    def __init__(self, *layers: nn.Module, keep_output_alone: bool = False) -> None:
        super().__init__(*layers)
        self.keep_output_alone = keep_output_alone
        self.leading = 0  # convolutions before the first other layer
        while self.leading < len(layers) and isinstance(layers[self.leading], nn.Conv2d | nn.Conv3d):
            self.leading += 1

    def forward(
        self,
        input: torch.Tensor,
        *others: torch.Tensor,
        enlarge: Enlarge | None = None,
        head: nn.Module | None = None,
    ) -> torch.Tensor:
        """Return the layers' features, `(B, channels of the last layer, *its grid)`.

        Args:
            input: `(B, C, *grid)`; with `enlarge` on a coarser grid.
            others: `(B, any, *grid)` each, concatenated to `input` in this order.
            enlarge: brings `input` to the grid of `others`, without random numbers or running averages.
            head: applied to the features, which are computed again in 3D instead of being kept; its output is returned.
        """
        run = partial(self._run, enlarge=enlarge, head=head)
        if self.training and input.ndim == 5 and self.keep_output_alone:
            return recompute(run, input, *others, modules=self.modules())
        return run(input, *others)

    def _run(
        self, input: torch.Tensor, *others: torch.Tensor, enlarge: Enlarge | None, head: nn.Module | None
    ) -> torch.Tensor:
        in_3d = self.training and input.ndim == 5
        features: torch.Tensor
        rest = list(self)[self.leading :]
        if rest and isinstance(rest[0], CheckpointedLayers) and not self.leading:
            features = rest.pop(0)(input, *others, enlarge=enlarge)
        elif in_3d and (others or self.leading > 1):
            convolve = partial(self._convolve, enlarge=enlarge)
            features = checkpoint(convolve, input, *others, use_reentrant=False, preserve_rng_state=False)
        else:
            features = self._convolve(input, *others, enlarge=enlarge)
        if head is None:
            return apply_in_order(rest, features)
        rest.append(head)
        if not in_3d:
            return apply_in_order(rest, features)
        modules = (module for layer in rest for module in layer.modules())
        return recompute(partial(apply_in_order, rest), features, modules=modules)

    def _convolve(self, input: torch.Tensor, *others: torch.Tensor, enlarge: Enlarge | None) -> torch.Tensor:
        parts = [enlarge(input) if enlarge else input, *others]
        first, *further = list(self)[: self.leading]
        if len(parts) > 1 and not isinstance(first, JoiningConv3d):
            parts = [torch.cat(parts, 1)]
        return apply_in_order(further, first(*parts))


def apply_in_order(layers: Sequence[nn.Module], features: torch.Tensor) -> torch.Tensor:
    """Return the output of the last layer."""
    for layer in layers:
        features = layer(features)
    return features


def recompute(
    function: Callable[..., torch.Tensor], *inputs: torch.Tensor, modules: Iterable[nn.Module]
) -> torch.Tensor:
    """Return `function(*inputs)`; its intermediate results are computed again in the backward pass.

    Batch normalisation moves its running averages in the forward pass alone. Everything is kept where that can't be
    had: torch.compile decides by itself what it computes again, and synchronised batch normalisation would communicate
    in the backward pass.

    Args:
        function: without random numbers.
        inputs: its arguments.
        modules: all that it uses.
    """
    if torch.compiler.is_compiling():
        return function(*inputs)
    used = list(modules)
    if any(isinstance(module, nn.SyncBatchNorm) for module in used):
        return function(*inputs)
    contexts = (nullcontext(), _UnmovedAverages(used))
    result: torch.Tensor = checkpoint(
        function, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=lambda: contexts
    )
    return result


class _UnmovedAverages:
    """Within, batch normalisation does what it does in training, but for its running averages and count of batches.

    Entered in every backward pass: several of one forward pass compute its results again several times.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self.moving = [module for module in modules if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        self.before: list[tuple[float | None, torch.Tensor | None]] = []

    def __enter__(self) -> None:
        self.before = [(module.momentum, module.num_batches_tracked) for module in self.moving]
        for module in self.moving:
            module.momentum, module.num_batches_tracked = 0.0, None

    def __exit__(self, *exception: object) -> None:
        for module, (momentum, batches) in zip(self.moving, self.before, strict=True):
            module.momentum, module.num_batches_tracked = momentum, batches
