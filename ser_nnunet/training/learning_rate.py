"""nnU-Net's polynomial decay of the learning rate, once per phase."""

from __future__ import annotations

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler


class PhasedPolyLRScheduler(PolyLRScheduler):
    """nnU-Net's polynomial decay over the epochs before `restart`, and once more from the start over the others.

    A phase that begins with a new teacher needs the full rate: with one decay over both, the network learns from
    L_dist at a rate that has already fallen to 37 % (docs/results.md). A function of the epoch alone, as nnU-Net's, so
    that a resumed training needs no state. Without a restart (0, or the last epoch) it is nnU-Net's own.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, initial_lr: float, max_steps: int, restart: int = 0) -> None:
        self.restart = restart
        super().__init__(optimizer, initial_lr, max_steps)

    def step(self, current_step: int | None = None) -> None:
        """Set the rate of an epoch, counted from 0."""
        if current_step is None or current_step == -1:
            current_step = self.ctr
            self.ctr += 1
        begin, end = (0, self.restart) if current_step < self.restart else (self.restart, self.max_steps)
        rate = self.initial_lr * (1 - (current_step - begin) / (end - begin)) ** self.exponent
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._last_lr = [rate for _ in self.optimizer.param_groups]
