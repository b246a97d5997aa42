"""Which epochs SAM guides: a pure function of the epoch, so that a resumed training needs no state."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LossSchedule:
    """SAM guides the first `guided_epochs` epochs (the paper's phase 1); the rest trains without SAM (phase 2).

    L_dist, the loss of the network's own output, counts in every epoch; L_seg, the loss of SAM's masks, in guided ones.

    Attributes:
        guided_epochs: number of epochs with L_seg, from epoch 0 on.
        joint: prompt learner and aggregator are trained by L_dist from the start, guided or not. Otherwise the
            aggregator is trained on detached prompts in the guided phase, and the prompt learner by L_seg alone, as in
            the paper.
    """

    guided_epochs: int
    joint: bool = False

    def guided(self, epoch: int) -> bool:
        """Return whether SAM takes part in `epoch` (counted from 0)."""
        return epoch < self.guided_epochs

    def detached(self, epoch: int) -> bool:
        """Return whether L_dist's gradient stops before the prompt learner in `epoch`."""
        return self.guided(epoch) and not self.joint


def two_phases(epochs: int, guided_fraction: float, joint: bool = False) -> LossSchedule:
    """Return the schedule whose first `guided_fraction` (0 to 1) of `epochs` is guided.

    Rounded down, but at least one epoch unless the fraction is 0, so that a short training isn't unguided by rounding.

    Raises:
        ValueError: the fraction lies outside 0 to 1.
    """
    if not 0 <= guided_fraction <= 1:
        raise ValueError(f"guided_fraction must lie between 0 and 1, {guided_fraction} given")
    guided_epochs = int(epochs * guided_fraction + 1e-9)
    return LossSchedule(max(guided_epochs, 1) if guided_fraction else 0, joint)
