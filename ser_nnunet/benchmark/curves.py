"""Learning curves: nnU-Net's pseudo Dice per epoch, and after how many iterations one trainer reaches another's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ser_nnunet.benchmark.runs import Run

WINDOW = 5  # epochs that are averaged: the pseudo Dice of one epoch comes from a few random patches
LEAST_DICE = 0.01  # smoothed pseudo Dice: a baseline that ends below it has learnt nothing yet


def read_curves(runs: Sequence[Run]) -> pd.DataFrame:
    """Return all curves: `trainer, seed, epoch, iterations, pseudo_dice, ..., smoothed` (trailing mean)."""
    tables = []
    for run in runs:
        table = pd.read_csv(run.folder / "curve.csv")
        smoothed = table["pseudo_dice"].rolling(WINDOW, min_periods=1).mean()
        tables.append(table.assign(trainer=run.trainer, seed=run.seed, smoothed=smoothed))
    curves = pd.concat(tables, ignore_index=True)
    return curves[["trainer", "seed", *curves.columns.drop(["trainer", "seed"])]]


def count_iterations_to_reach(curves: pd.DataFrame, trainer: str, baseline: str) -> float:
    """Return after how many iterations a trainer's smoothed pseudo Dice reaches the baseline's last; mean over seeds.

    NaN if it doesn't in some seed, or if the baseline's last is below `LEAST_DICE`, which any training reaches at once.
    """
    reached = []
    for seed in curves["seed"].unique():
        own = curves[(curves["trainer"] == trainer) & (curves["seed"] == seed)]
        target = curves[(curves["trainer"] == baseline) & (curves["seed"] == seed)]["smoothed"].iloc[-1]
        reaching = own[(own["smoothed"] >= target) & (target >= LEAST_DICE)]["iterations"]
        reached.append(float(reaching.iloc[0]) if len(reaching) else float("nan"))
    return float(pd.Series(reached).mean(skipna=False))


def draw_curves(curves: pd.DataFrame, file: Path) -> None:
    """Draw every run's pseudo Dice over iterations: a colour per trainer, the smoothed curve in front."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for number, (trainer, rows) in enumerate(curves.groupby("trainer", sort=False)):
        for count, (_, run) in enumerate(rows.groupby("seed")):
            axes.plot(run["iterations"], run["pseudo_dice"], color=f"C{number}", alpha=0.25, linewidth=1)
            label = str(trainer) if count == 0 else None
            axes.plot(run["iterations"], run["smoothed"], color=f"C{number}", linewidth=1.8, label=label)
    axes.set(xlabel="iterations", ylabel=f"pseudo Dice (mean of {WINDOW} epochs)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)
