"""nnU-Net's per-epoch log: adding values and reading them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


def epoch_log(trainer: nnUNetTrainer) -> dict[str, list[Any]]:
    """Return nnU-Net's log, one list per logged value with one entry per epoch; it is saved in every checkpoint."""
    return trainer.logger.local_logger.my_fantastic_logging


def make_plain(value: Any) -> Any:
    """Return numbers of numpy's, also within lists and dicts, as Python's: torch loads these with `weights_only`."""
    if isinstance(value, dict):
        return {key: make_plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(make_plain(each) for each in value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def add_logged_values(trainer: nnUNetTrainer, keys: Iterable[str]) -> None:
    """Make `trainer.logger.log` accept further values; epochs already logged without them get NaN.

    Call it when the trainer is built and after it has loaded a checkpoint: loading replaces the log.
    """
    log = epoch_log(trainer)
    for key in keys:
        log.setdefault(key, [float("nan")] * len(log["train_losses"]))


def epoch_seconds(trainer: nnUNetTrainer) -> list[float]:
    """Return the wall time of every finished epoch in seconds, those before an interruption included."""
    log = epoch_log(trainer)
    stamps = zip(log["epoch_start_timestamps"], log["epoch_end_timestamps"], strict=False)
    return [float(end - start) for start, end in stamps]
