"""The checkpoints of a trained-model folder, found without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser_nnunet.errors import UserError

FOLD = "fold_"


def find_checkpoints(folder: Path, folds: Sequence[str] | None, checkpoint: str) -> dict[str, Path]:
    """Return fold -> checkpoint of a trained model.

    Args:
        folder: `TRAINER__PLANS__CONFIGURATION`, as in nnUNet_results.
        folds: such as `0` or `all`; by default every number that has the checkpoint (`all` if it is the only one).
        checkpoint: file name in the folds' folders.

    Raises:
        UserError: it isn't such a folder; names all files that are missing.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; a trained model's is TRAINER__PLANS__CONFIGURATION in nnUNet_results"
        )
    found = sorted(file.parent.name.removeprefix(FOLD) for file in folder.glob(f"{FOLD}*/{checkpoint}"))
    chosen = list(folds) if folds else [fold for fold in found if fold != "all"] or found
    files = {fold: folder / f"{FOLD}{fold}" / checkpoint for fold in chosen}
    needed = [folder / "plans.json", folder / "dataset.json", *files.values()]
    missing = [f"{file} is missing" for file in needed if not file.is_file()]
    if missing or not files:
        problems = missing or [f"no {FOLD}*/{checkpoint} there"]
        raise UserError(f"{folder}: not a trained model\n  " + "\n  ".join(problems))
    return files


def require_exportable(folder: Path, target: Path, folds: Sequence[str] | None, checkpoint: str) -> None:
    """Raise `UserError`, without importing torch, if there is no such model or `target` is a folder."""
    if target.is_dir():
        raise UserError(f"{target} is a folder: name the file to write, such as {target / 'model.pyz'}")
    find_checkpoints(folder, folds, checkpoint)
