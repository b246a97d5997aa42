"""nnU-Net's polynomial decay of the learning rate, once per phase."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler


class PhasedPolyLRScheduler(PolyLRScheduler):
    """nnU-Net's polynomial decay, which begins anew at every epoch of `restarts`.

    When another loss begins to train the prompt learner, it needs the full rate: with one decay over SERTrainer's two
    phases, the second would begin at 37 % of it. A student that starts anew needs it, too. The rate is a function of
    the epoch alone, as nnU-Net's, so that a resumed training needs no state. Without restarts (0 and `max_steps` are
    none) it is nnU-Net's own.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, initial_lr: float, max_steps: int, restarts: Iterable[int] = ()
    ) -> None:
        self.begins = [0, *sorted(epoch for epoch in set(restarts) if 0 < epoch < max_steps)]
        super().__init__(optimizer, initial_lr, max_steps)

    def step(self, current_step: int | None = None) -> None:
        """Set the rate of an epoch, counted from 0."""
        if current_step is None or current_step == -1:
            current_step = self.ctr
            self.ctr += 1
        begin = max(epoch for epoch in self.begins if epoch <= current_step)
        end = min((epoch for epoch in self.begins if epoch > current_step), default=self.max_steps)
        rate = self.initial_lr * (1 - (current_step - begin) / (end - begin)) ** self.exponent
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._last_lr = [rate for _ in self.optimizer.param_groups]
