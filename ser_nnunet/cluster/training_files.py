"""One fold's training on disk: is it done, how well, and which checkpoint it resumes from."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from ser_nnunet.utils.files import read_json
from ser_nnunet.utils.hashing import file_sha256

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth")
"""In the order in which nnU-Net's `--c` looks for them."""


@dataclass(frozen=True)
class TrainingFiles:
    """A fold's training.

    Attributes:
        folder: nnU-Net's `fold_X`.
        next_stages: configurations that are trained on this one's predictions.
    """

    folder: Path
    next_stages: tuple[str, ...] = ()

    @property
    def summary(self) -> Path:
        """nnU-Net's evaluation of the fold's validation cases."""
        return self.folder / "validation" / "summary.json"

    def is_done(self) -> bool:
        """Return whether it is trained and validated, and the next stages have what they are trained on."""
        return (
            is_whole(self.folder / CHECKPOINTS[0])
            and self.validation_dice() is not None
            and not self.missing_for_next_stages()
        )

    def validation_dice(self) -> float | None:
        """Return the mean Dice of the validation cases; None if they haven't all been evaluated."""
        try:
            return float(read_json(self.summary)["foreground_mean"]["Dice"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def missing_for_next_stages(self) -> list[str]:
        """Return the validation cases that a next stage lacks; nnU-Net writes them in the validation."""
        if not self.next_stages:
            return []
        try:
            ending = read_json(self.folder.parent / "dataset.json")["file_ending"]
            files = [case["prediction_file"] for case in read_json(self.summary)["metric_per_case"]]
        except (OSError, ValueError, KeyError, TypeError):
            return ["all"]
        names = [Path(file).name.removesuffix(ending) for file in files]
        folders = [self.folder.parent / "predicted_next_stage" / stage for stage in self.next_stages]
        return [name for name in names for folder in folders if not any(folder.glob(f"{escape(name)}.*"))]

    def has_probabilities(self) -> bool:
        """Return whether the validation has kept what nnU-Net's ensembles of configurations are made of."""
        return any((self.folder / "validation").glob("*.npz"))

    def digest(self) -> str | None:
        """Return a digest that changes when the training is repeated; None while it isn't done."""
        return file_sha256(self.summary) if self.is_done() else None

    def last_saved(self) -> float:
        """Return when the newest checkpoint was written, in seconds since 1970; 0 if there is none."""
        files = [self.folder / name for name in CHECKPOINTS]
        return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)

    def set_damaged_aside(self) -> list[Path]:
        """Rename checkpoints that were cut off while they were written, so that nnU-Net resumes from a whole one.

        SER's trainers write theirs completely or not at all; nnU-Net's don't.

        Returns:
            Their new names.
        """
        renamed = []
        for name in CHECKPOINTS:
            file = self.folder / name
            if file.is_file() and not is_whole(file):
                renamed.append(file.replace(file.with_name(f"{name}.damaged")))
        return renamed


def is_whole(checkpoint: Path) -> bool:
    """Return whether a checkpoint exists and isn't cut off: PyTorch's zip has its directory at the end."""
    return checkpoint.is_file() and zipfile.is_zipfile(checkpoint)
