"""What the trainers of `benchmark accuracy` cost: time, parameters, iterations, relative to the baseline."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ser_nnunet.benchmark.compare import divide
from ser_nnunet.benchmark.curves import TRAINING, count_iterations_to_reach
from ser_nnunet.benchmark.runs import Run
from ser_nnunet.benchmark.tables import format_count, format_intervals, format_number

QUARTILES = {"epoch_seconds": 0.5, "epoch_seconds_q1": 0.25, "epoch_seconds_q3": 0.75}


def tabulate_costs(runs: Sequence[Run], curves: pd.DataFrame) -> pd.DataFrame:
    """Return one row per trainer: time to train and predict (mean over folds and seeds), ratios to the first trainer.

    `*_ratio_low, *_ratio_high` are the lowest and highest ratio of two trainings with the same fold and seed; NaN with
    one training per trainer. `epoch_seconds_ratio` is the medians' ratio; `_q1, _q3` are quartiles of the ratios of
    equal epochs (of the same fold and seed).
    """
    finished = pd.DataFrame(
        [{"trainer": run.trainer, "fold": run.fold, "seed": run.seed} | (run.finished or {}) for run in runs]
    )
    columns = ["parameters", "batch_size", "iterations", "train_seconds", "predict_seconds"]
    table = finished.groupby("trainer", sort=False)[columns].mean().reset_index()
    trainers = table["trainer"]
    epochs = curves.groupby("trainer", sort=False)["seconds"].quantile(list(QUARTILES.values())).unstack()
    for name, quantile in QUARTILES.items():
        table[name] = trainers.map(epochs[quantile])
    for column in ("parameters", "train_seconds", "predict_seconds", "epoch_seconds"):
        table[f"{column}_ratio"] = divide(table[column].to_numpy(float), float(table[column].iloc[0]))
    several = len(finished) > len(table)
    for column in ("train_seconds", "predict_seconds"):
        ratios = compute_paired_ratios(finished, column, TRAINING)
        for end, values in (("low", ratios.min()), ("high", ratios.max())):
            table[f"{column}_ratio_{end}"] = trainers.map(values) if several else float("nan")
    ratios = compute_paired_ratios(curves, "seconds", [*TRAINING, "epoch"])
    for end, quantile in (("q1", 0.25), ("q3", 0.75)):
        table[f"epoch_seconds_ratio_{end}"] = trainers.map(ratios.quantile(quantile))
    first = str(trainers.iloc[0])
    table["iterations_to_reach"] = [count_iterations_to_reach(curves, str(name), first) for name in trainers]
    return table


def compute_paired_ratios(rows: pd.DataFrame, column: str, pairing: list[str]) -> pd.DataFrame:
    """Return every trainer's ratio to the first: one row per pair (such as fold and seed), one column per trainer."""
    wide = rows.pivot(index=pairing, columns="trainer", values=column)
    first = wide[[rows["trainer"].iloc[0]]].to_numpy(float)
    return pd.DataFrame(divide(wide.to_numpy(float), first), index=wide.index, columns=wide.columns)


def format_costs(table: pd.DataFrame) -> pd.DataFrame:
    """Return the costs as text."""

    def ratios(column: str, *ends: str) -> list[str]:
        return format_intervals(table, [f"{column}_ratio", *(f"{column}_ratio_{end}" for end in ends)], 2)

    return pd.DataFrame(
        {
            "trainer": table["trainer"],
            "parameters (M)": [format_number(count / 1e6) for count in table["parameters"]],
            "batch": [f"{size:g}" for size in table["batch_size"]],
            "training (min)": [format_number(seconds / 60) for seconds in table["train_seconds"]],
            "training, of the baseline": ratios("train_seconds", "low", "high"),
            "an epoch (s), median (quartiles)": format_intervals(table, list(QUARTILES)),
            "an epoch, of the baseline (quartiles)": ratios("epoch_seconds", "q1", "q3"),
            "prediction (min)": [format_number(seconds / 60) for seconds in table["predict_seconds"]],
            "prediction, of the baseline": ratios("predict_seconds", "low", "high"),
            "iterations to reach the baseline": [format_count(count) for count in table["iterations_to_reach"]],
        }
    )
