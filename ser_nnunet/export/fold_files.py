"""The checkpoints of a trained-model folder, found without torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ser_nnunet.errors import UserError

FOLD = "fold_"
NAME = re.compile(r"0|[1-9][0-9]{0,3}|all")
"""What follows in the name of a fold's folder, as nnU-Net writes it."""


def find_checkpoints(folder: Path, folds: Sequence[str] | None, checkpoint: str) -> dict[str, Path]:
    """Return fold -> checkpoint of a trained model.

    Args:
        folder: `TRAINER__PLANS__CONFIGURATION`, as in nnUNet_results.
        folds: such as `0` or `all`; by default every number that has the checkpoint (`all` if there is none). Other
            folders, such as a copy `fold_0_old`, are no folds.
        checkpoint: file name in the folds' folders.

    Raises:
        UserError: it isn't such a folder, or a fold has another name; names all files that are missing.
    """
    if odd := [fold for fold in folds or () if not NAME.fullmatch(fold)]:
        raise UserError(f"-f {' '.join(odd)}: expected numbers of folds, such as 0 1 2, or all")
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; a trained model's is TRAINER__PLANS__CONFIGURATION in nnUNet_results"
        )
    there = (file.parent.name.removeprefix(FOLD) for file in folder.glob(f"{FOLD}*/{checkpoint}"))
    found = sorted(fold for fold in there if NAME.fullmatch(fold))
    chosen = list(folds) if folds else [fold for fold in found if fold != "all"] or found
    files = {fold: folder / f"{FOLD}{fold}" / checkpoint for fold in chosen}
    needed = [folder / "plans.json", folder / "dataset.json", *files.values()]
    missing = [f"{file} is missing" for file in needed if not file.is_file()]
    if missing or not files:
        problems = missing or [f"no {FOLD}NUMBER/{checkpoint} or {FOLD}all/{checkpoint} there"]
        raise UserError(f"{folder}: not a trained model\n  " + "\n  ".join(problems))
    return files


def require_exportable(folder: Path, target: Path, folds: Sequence[str] | None, checkpoint: str) -> None:
    """Raise `UserError`, without importing torch, if there is no such model or `target` is a folder."""
    if target.is_dir():
        raise UserError(f"{target} is a folder: name the file to write, such as {target / 'model.pyz'}")
    find_checkpoints(folder, folds, checkpoint)
