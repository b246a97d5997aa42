"""nnU-Net's polynomial decay of the learning rate, once per phase."""

from __future__ import annotations

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler


class PhasedPolyLRScheduler(PolyLRScheduler):
    """nnU-Net's polynomial decay over the epochs before `restart`, and once more from the start over the others.

    When another loss begins to train the prompt learner, it needs the full rate: with one decay over both phases of
    SERTrainerTwoPhases, the second would begin at 37 % of it. The rate is a function of the epoch alone, as nnU-Net's,
    so that a resumed training needs no state. Without a restart (0, or `max_steps`) it is nnU-Net's own.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, initial_lr: float, max_steps: int, restart: int = 0) -> None:
        self.restart = restart
        super().__init__(optimizer, initial_lr, max_steps)

    def step(self, current_step: int | None = None) -> None:
        """Set the rate of an epoch, counted from 0."""
        if current_step is None or current_step == -1:
            current_step = self.ctr
            self.ctr += 1
        second = self.restart <= current_step and self.restart < self.max_steps
        begin, end = (self.restart, self.max_steps) if second else (0, self.restart)
        rate = self.initial_lr * (1 - (current_step - begin) / (end - begin)) ** self.exponent
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._last_lr = [rate for _ in self.optimizer.param_groups]
