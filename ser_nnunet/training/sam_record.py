"""Which SAM guided which epochs of a training: beside its checkpoints, so that another SAM on resuming is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ser_nnunet.utils.files import read_json, write_json

RECORD = "sam_guidance.json"


def record_sam(folder: Path, epoch: int, checkpoint: str, sha256: str) -> str:
    """Add to the record in a training's folder from which epoch on a SAM guides it.

    Args:
        folder: of the checkpoints.
        epoch: that begins; 0 starts the record anew.
        checkpoint: SAM's file.
        sha256: of that file.

    Returns:
        A warning if the epochs before were guided by another SAM, otherwise an empty text.
    """
    file = folder / RECORD
    try:
        rows: list[dict[str, Any]] = [dict(row) for row in read_json(file) if row["epoch"] < epoch]
        before = str(rows[-1]["sha256"]) if rows else sha256
        name = rows[-1]["checkpoint"] if rows else checkpoint
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or not ours
        rows, before, name = [], sha256, checkpoint
    if not rows or before != sha256:
        rows.append({"epoch": epoch, "checkpoint": checkpoint, "sha256": sha256})
    write_json(file, rows)
    if before == sha256:
        return ""
    return (
        f"WARNING: until epoch {epoch} another SAM guided this training: {name} with the SHA-256 {before}, now "
        f"{checkpoint} with {sha256}. Set SER_SAM_CHECKPOINT to the same file unless that is intended"
    )
