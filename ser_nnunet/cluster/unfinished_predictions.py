"""Folders of predictions that an interruption has left unfinished: what of them can be kept."""

from __future__ import annotations

from pathlib import Path

WRITERS = 3
"""Processes in which nnUNetv2_predict writes masks (`-nps`), so that as many may have been cut off."""

BESIDE_MASKS = (".json", ".npz", ".pkl")
"""Endings of what nnU-Net writes before a case's mask, or for all cases."""


def list_masks(folder: Path) -> list[Path]:
    """Return the masks in a folder and the folders in it, the latest last; none if there is no such folder."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.suffix not in BESIDE_MASKS]
    return sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name))


def keep_whole_masks(folder: Path) -> int:
    """Remove the latest masks, which may have been cut off; return how many are kept."""
    masks = list_masks(folder)
    for mask in masks[-WRITERS:]:
        mask.unlink()
    return len(masks[:-WRITERS])
