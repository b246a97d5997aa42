"""Runs of `benchmark accuracy` without a training: what they leave in their folders."""

import pandas as pd

from ser_nnunet.benchmark.runs import Run


def write_curve(folder, trainer, dice, seed=0, seconds=1.0, fold=0):
    """Write the learning curve of a run of as many epochs as `dice` has values; return the run."""
    run = Run(trainer, fold, seed, folder / f"{trainer}_{fold}_{seed}")
    run.folder.mkdir()
    table = pd.DataFrame({"epoch": range(len(dice)), "pseudo_dice": dice})
    table.assign(iterations=(table["epoch"] + 1) * 10, seconds=seconds).to_csv(run.folder / "curve.csv", index=False)
    return run
