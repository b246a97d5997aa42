"""Learning curves: nnU-Net's pseudo Dice per epoch, and after how many iterations one trainer reaches another's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ser_nnunet.benchmark.runs import Run

WINDOW = 5  # epochs that are averaged: the pseudo Dice of one epoch comes from a few random patches
TRAINING = ["fold", "seed"]  # what tells the trainings of one trainer from each other
LEAST_DICE = 0.01  # smoothed pseudo Dice: a baseline that ends below it has learnt nothing yet


def read_curves(runs: Sequence[Run]) -> pd.DataFrame:
    """Return all curves: `trainer, fold, seed, epoch, iterations, pseudo_dice, ..., smoothed` (trailing mean)."""
    tables = []
    for run in runs:
        table = pd.read_csv(run.folder / "curve.csv")
        smoothed = table["pseudo_dice"].rolling(WINDOW, min_periods=1).mean()
        tables.append(table.assign(trainer=run.trainer, fold=run.fold, seed=run.seed, smoothed=smoothed))
    curves = pd.concat(tables, ignore_index=True)
    return curves[["trainer", *TRAINING, *curves.columns.drop(["trainer", *TRAINING])]]


def count_iterations_to_reach(curves: pd.DataFrame, trainer: str, baseline: str) -> float:
    """Return after how many iterations a trainer's smoothed pseudo Dice reaches the baseline's last.

    The mean over folds and seeds. NaN if one training doesn't reach it, or if the baseline's last is below
    `LEAST_DICE`, which any training reaches at once.
    """
    reached = []
    for _, pair in curves.groupby(TRAINING):
        own = pair[pair["trainer"] == trainer]
        target = pair[pair["trainer"] == baseline]["smoothed"].iloc[-1]
        reaching = own[(own["smoothed"] >= target) & (target >= LEAST_DICE)]["iterations"]
        reached.append(float(reaching.iloc[0]) if len(reaching) else float("nan"))
    return float(pd.Series(reached).mean(skipna=False))


def draw_curves(curves: pd.DataFrame, file: Path) -> None:
    """Draw the pseudo Dice over iterations: a colour per trainer, each training pale, their smoothed mean in front."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for number, (trainer, rows) in enumerate(curves.groupby("trainer", sort=False)):
        for _, training in rows.groupby(TRAINING):
            axes.plot(training["iterations"], training["pseudo_dice"], color=f"C{number}", alpha=0.2, linewidth=1)
        mean = rows.groupby("iterations")["smoothed"].mean()
        axes.plot(mean.index, mean, color=f"C{number}", linewidth=1.8, label=str(trainer))
    axes.set(xlabel="iterations", ylabel=f"pseudo Dice (mean of {WINDOW} epochs and of all folds and seeds)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)
