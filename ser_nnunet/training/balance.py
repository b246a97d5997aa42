"""How much L_seg may say beside L_dist: its gradient in the prompt learner is measured, and scaled to L_dist's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist

SMOOTHING = 0.5  # share of the new measurement, as a geometric mean


class GradientBalance:
    """The weight at which L_seg's gradient is `share` times as long as L_dist's in the parameters that both train.

    A gradient that comes through SAM's mask decoder has that decoder's scale: 8 to 50 times L_dist's on the data sets
    of docs/results.md. Merely added, it decides alone where the prompt learner goes, because AdamW looks at no scale.
    Kin to GradNorm (Chen et al., arXiv 1711.02257), which learns such weights; here L_dist sets the measure.

    Attributes:
        share: see above; also the weight before the first measurement and its upper bound, so that a teacher whose
            gradient fades isn't made louder.
        weight: of L_seg.
    """

    def __init__(self, share: float) -> None:
        if not (share > 0 and math.isfinite(share)):
            raise ValueError(f"guidance_share must be above 0, {share} given")
        self.share = self.weight = share
        self.measured = False

    def measure(
        self,
        dist_loss: torch.Tensor,
        seg_loss: torch.Tensor,
        parameters: Iterable[torch.nn.Parameter],
        scaled: Callable[[torch.Tensor], torch.Tensor] = lambda loss: loss,
    ) -> None:
        """Measure both gradients of one batch and move the weight towards their ratio, equally on all GPUs.

        A measurement that isn't finite, or that finds one of the two gradients to be zero, is left out.

        Args:
            dist_loss, seg_loss: scalars whose graphs are still there.
            parameters: what both losses train.
            scaled: the gradient scaler's, where half precision would otherwise lose small gradients.
        """
        shared = list(parameters)
        lengths = [gradient_length(scaled(loss), shared) for loss in (dist_loss, seg_loss)]
        ratio = torch.log(lengths[0]) - torch.log(lengths[1])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(ratio)
            ratio = ratio / dist.get_world_size()
        if not ratio.isfinite():
            return
        found = self.share * min(1.0, math.exp(float(ratio)))
        self.weight = self.weight ** (1 - SMOOTHING) * found**SMOOTHING if self.measured else found
        self.measured = True


def gradient_length(loss: torch.Tensor, parameters: list[torch.nn.Parameter]) -> torch.Tensor:
    """Return the Euclidean length of a loss's gradient over all the parameters, in float32."""
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.stack([gradient.float().norm() for gradient in gradients if gradient is not None]).norm()
