"""L_seg's weight beside L_dist, from the measured norms of their gradients in the prompt learner."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist

SMOOTHING = 0.5  # share of the new measurement, as a geometric mean


class GradientBalance:
    """The weight at which L_seg's gradient norm is `ratio` times L_dist's in the parameters that both train.

    A gradient through SAM's mask decoder has that decoder's scale (docs/research-log.md has examples). If the two
    losses were added unweighted, a much larger gradient of L_seg would alone determine the prompt learner's updates,
    because AdamW and Muon normalise by the gradient's magnitude. GradNorm (Chen et al., arXiv 1711.02257) learns such
    weights; here L_dist is the reference.

    Attributes:
        ratio: see above; also the weight before the first measurement and its upper bound, so that a vanishing gradient
            of L_seg isn't amplified.
        weight: of L_seg.

    Raises:
        ValueError: the ratio isn't above 0 and finite.
    """

    def __init__(self, ratio: float) -> None:
        if not (ratio > 0 and math.isfinite(ratio)):
            raise ValueError(f"guidance_ratio must be above 0, {ratio} given")
        self.ratio = self.weight = ratio
        self.measured = False

    def measure(
        self,
        dist_loss: torch.Tensor,
        seg_loss: torch.Tensor,
        parameters: Iterable[torch.nn.Parameter],
        scale: Callable[[torch.Tensor], torch.Tensor] = lambda loss: loss,
    ) -> bool:
        """Measure both gradients of one batch and move the weight towards their ratio, equally on all GPUs.

        L_seg is measured at its present weight, so that half precision overflows here only where the step's own
        backward pass would. It comes first and keeps the graph that both losses share; L_dist's own part may be
        compiled, and a compiled graph allows one backward pass.

        Args:
            dist_loss: L_dist, a scalar with its graph, which is freed.
            seg_loss: L_seg, the same.
            parameters: those that both losses train.
            scale: the gradient scaler's method, where half precision would otherwise lose small gradients.

        Returns:
            False, with the weight unchanged, if a gradient is zero or isn't finite.
        """
        shared = list(parameters)
        seg_norm = gradient_norm(scale(self.weight * seg_loss), shared, retain_graph=True)
        dist_norm = gradient_norm(scale(dist_loss), shared)
        found = torch.log(dist_norm) - torch.log(seg_norm) + math.log(self.weight)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(found)
            found = found / dist.get_world_size()
        if not found.isfinite():
            return False
        weight = self.ratio * min(1.0, math.exp(float(found)))
        self.weight = self.weight ** (1 - SMOOTHING) * weight**SMOOTHING if self.measured else weight
        self.measured = True
        return True


def gradient_norm(loss: torch.Tensor, parameters: list[torch.nn.Parameter], retain_graph: bool = False) -> torch.Tensor:
    """Return the Euclidean norm of a loss's gradient over all the parameters, in float32."""
    gradients = torch.autograd.grad(loss, parameters, retain_graph=retain_graph, allow_unused=True)
    norm: torch.Tensor = torch.stack([gradient.float().norm() for gradient in gradients if gradient is not None]).norm()
    return norm
