"""Muon for convolutions that mix channels, AdamW for everything else: the optimiser of SER's trainers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

MOMENTUM = 0.95
STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration (Jordan et al.): singular values above 0.002 of the norm become 0.68 to 1.2."""
UPDATE = 0.6
"""Root mean square of an update whose singular values are 1, in units of the rate (Liu et al. take 0.2, as large as
AdamW's updates; chosen by measurement: docs/research-log.md, "Muon")."""
BUFFER = "momentum_buffer"


class MuonAdamW(torch.optim.Optimizer):
    """AdamW, except that some parameters are updated by orthogonalised momentum (Muon).

    A convolution's update is its gradient's moving average with Nesterov's momentum, as a matrix of output channels
    times the rest, of which all singular values are set to about 1: directions of small gradients are learnt as fast as
    those of large ones, and the update is as large however small the gradient is. Decay of the weights and the rate's
    schedule are AdamW's.

    Sources: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the update's scale by the
    matrix's larger side: Liu et al., "Muon is scalable for LLM training", arXiv 2502.16982, section 2.2. The same as
    `torch.optim.Muon` for matrices (tests), which takes nothing else and computes in bfloat16.

    Args:
        parameters: all that are trained.
        orthogonal: those of them that Muon updates, of two or more dimensions.
        lr: rate of both.
        weight_decay: of both.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor],
        orthogonal: Iterable[torch.Tensor],
        lr: float,
        weight_decay: float,
    ) -> None:
        by_muon = list(orthogonal)
        chosen = {id(parameter) for parameter in by_muon}
        others = [parameter for parameter in parameters if id(parameter) not in chosen]
        groups: list[dict[str, Any]] = [{"params": others}, {"params": by_muon, "muon": True}]
        defaults = torch.optim.AdamW([{"params": []}], lr, weight_decay=weight_decay).defaults
        super().__init__(groups, defaults | {"muon": False})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient.

        Raises:
            ValueError: a closure is given.
        """
        if closure is not None:
            raise ValueError("MuonAdamW takes no closure: compute the gradients before the step")
        adamw = torch.optim.AdamW([dict(group) for group in self.param_groups if not group["muon"]])
        adamw.state = self.state
        adamw.step()
        for group in self.param_groups:
            for parameter in group["params"] if group["muon"] else ():
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group["lr"], group["weight_decay"])

    def _update(self, parameter: torch.Tensor, gradient: torch.Tensor, lr: float, weight_decay: float) -> None:
        state = self.state[parameter]
        if BUFFER not in state:
            state[BUFFER] = torch.zeros_like(gradient)
        average = state[BUFFER].lerp_(gradient, 1 - MOMENTUM)
        update = orthogonalise(gradient.lerp(average, MOMENTUM).flatten(1).float())
        parameter.mul_(1 - lr * weight_decay)
        scale = UPDATE * math.sqrt(max(update.shape))
        parameter.add_(update.reshape(parameter.shape).to(parameter.dtype), alpha=-lr * scale)


def orthogonalise(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix with the singular vectors of `matrix` and singular values of about 1; 0 stays 0.

    By Newton-Schulz iteration: the odd polynomial that is applied to the matrix is applied to its singular values.
    """
    a, b, c = COEFFICIENTS
    wide = matrix.T if len(matrix) > matrix.shape[1] else matrix
    values: torch.Tensor = wide / wide.norm().clamp(min=1e-7)
    for _ in range(STEPS):
        gram = values @ values.T
        values = torch.addmm(values, torch.addmm(gram, gram, gram, beta=b, alpha=c), values, beta=a)
    return values.T if len(matrix) > matrix.shape[1] else values


def mixing_convolutions(network: nn.Module) -> list[torch.Tensor]:
    """Return the weights of the convolutions that mix channels, but for the first one and those named `last`.

    Depthwise convolutions mix none; the first and the last layer are AdamW's, as is usual with Muon. So are transposed
    convolutions.
    """
    convolutions = {
        name: module.weight
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Conv3d) and module.groups == 1
    }
    first = next(iter(convolutions), None)
    return [weight for name, weight in convolutions.items() if name != first and "last" not in name.split(".")]
