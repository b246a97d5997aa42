"""A training's progress as nnU-Net's own text logs tell it, whatever the trainer: no checkpoint has to be loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from ser_nnunet.utils.files import read_json

NUMBER = r"-?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
EPOCH = re.compile(r": Epoch (\d+) *$", re.MULTILINE)
VALUES = {
    "train_loss": re.compile(rf": train_loss ({NUMBER})"),
    "val_loss": re.compile(rf": val_loss ({NUMBER})"),
    "seconds": re.compile(rf": Epoch time: ({NUMBER}) s"),
}
DICE = re.compile(r": Pseudo dice \[(.*)\]")
TYPED = re.compile(rf"(?:np\.\w+\()?({NUMBER})\)?")  # numpy 2 writes np.float32(0.5)
RECENT = 20  # epochs whose median time predicts that of the remaining ones


@dataclass(frozen=True)
class Epoch:
    """A finished epoch: its losses, the mean of the classes' pseudo Dice, and its seconds."""

    train_loss: float
    val_loss: float
    dice: float
    seconds: float


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
        epochs: the finished ones by number, those before an interruption included.
        planned: number of epochs of the schedule; None until the training has begun.
        starts: the first epoch of every log: 0, then where the training resumed.
    """

    epochs: dict[int, Epoch]
    planned: int | None
    starts: tuple[int, ...] = ()

    @property
    def finished(self) -> int:
        """Number of the epochs up to the last finished one."""
        return max(self.epochs, default=-1) + 1

    @property
    def dice(self) -> float | None:
        """Pseudo Dice of the last finished epoch."""
        return self.epochs[self.finished - 1].dice if self.epochs else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the remaining epochs will take, without the validation."""
        if not self.epochs or self.planned is None:
            return None
        recent = sorted(self.epochs)[-RECENT:]
        return (self.planned - self.finished) * median(self.epochs[epoch].seconds for epoch in recent)


def read_progress(folder: Path) -> Progress:
    """Return the progress of a training.

    Args:
        folder: nnU-Net's `fold_X`; it may be absent.
    """
    epochs: dict[int, Epoch] = {}
    starts = []
    for log in sorted(folder.glob("training_log_*.txt"), key=_start_time):
        found = _read_log(log.read_text(encoding="utf-8", errors="replace"))
        if found is None:
            continue
        start, finished = found
        starts.append(start)
        # epochs after the last checkpoint are trained again
        epochs = {number: epoch for number, epoch in epochs.items() if number < start} | finished
    try:
        planned = int(read_json(folder / "debug.json")["num_epochs"])
    except (OSError, ValueError, KeyError, TypeError):
        planned = None
    return Progress(epochs, planned, tuple(starts))


def _start_time(log: Path) -> tuple[int, ...]:
    """Order logs by the time in their names, whose numbers have no leading zeros."""
    return tuple(int(number) for number in re.findall(r"\d+", log.stem))


def _read_log(text: str) -> tuple[int, dict[int, Epoch]] | None:
    """Return the first epoch that a log names, and its finished epochs; None where no epoch has begun."""
    parts = EPOCH.split(text)[1:]
    if not parts:
        return None
    finished = {}
    for number, part in zip(parts[::2], parts[1::2], strict=True):
        values = {name: pattern.search(part) for name, pattern in VALUES.items()}
        classes = DICE.search(part)
        if classes is None or not values["seconds"]:
            continue
        found = {name: float(match[1]) if match else float("nan") for name, match in values.items()}
        finished[int(number)] = Epoch(dice=mean_of(TYPED.findall(classes[1])), **found)
    return int(parts[0]), finished


def mean_of(texts: Iterable[str]) -> float:
    """Return the mean of numbers without those that are NaN (a class that no patch held); NaN if none is left."""
    known = [value for value in map(float, texts) if value == value]
    return mean(known) if known else float("nan")
