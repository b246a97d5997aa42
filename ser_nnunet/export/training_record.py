"""What a fold's checkpoint and nnU-Net's debug.json beside it tell of the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ser_nnunet.utils.files import read_json

DEBUG = "debug.json"  # nnU-Net's, all values as text; holds paths and the host's name, which must not be exported


@dataclass(frozen=True)
class TrainingRecord:
    """One fold's training; None and "" for what isn't recorded.

    Attributes:
        fold: such as `0`.
        epochs: finished when the checkpoint was written.
        date: of the last of them (UTC), `YYYY-MM-DD`.
        iterations: per epoch.
        batch_size: of a training step.
        torch: version.
    """

    fold: str
    epochs: int | None
    date: str
    iterations: int | None
    batch_size: int | None
    torch: str


def read_training(fold: str, file: Path, content: Mapping[str, Any]) -> TrainingRecord:
    """Return the record of a fold.

    Args:
        fold: its name.
        file: the checkpoint.
        content: of it.
    """
    epochs = content.get("current_epoch")
    try:
        ended = float(content["logging"]["epoch_end_timestamps"][-1])
        date = datetime.fromtimestamp(ended, timezone.utc).date().isoformat()
    except (LookupError, TypeError, ValueError, OverflowError, OSError):
        date = ""
    try:
        known = dict(read_json(file.parent / DEBUG))
    except (OSError, ValueError, TypeError):
        known = {}
    return TrainingRecord(
        fold,
        int(epochs) if epochs is not None else None,
        date,
        _whole(known.get("num_iterations_per_epoch")),
        _whole(known.get("batch_size")),
        str(known.get("torch_version", "")),
    )


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
