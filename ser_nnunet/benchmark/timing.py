"""Interleaved timing: A B A B ..., so that other load slows all tasks alike; ratios within a round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter

import numpy as np
import pandas as pd


def time_interleaved(
    tasks: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int,
    synchronise: Callable[[], object] = lambda: None,
    after_each: Callable[[], object] = lambda: None,
) -> pd.DataFrame:
    """Time every task once per round, in turn.

    Args:
        tasks: name -> what is timed.
        rounds: that are measured.
        warmup: rounds before them that are not.
        synchronise: waits for the device; called before and after each task.
        after_each: called after each task, for a progress bar.

    Returns:
        One row per round, one column of seconds per task.
    """
    rows = []
    for number in range(warmup + rounds):
        row = {}
        for name, task in tasks.items():
            synchronise()
            start = perf_counter()
            task()
            synchronise()
            row[name] = perf_counter() - start
            after_each()
        if number >= warmup:
            rows.append(row)
    return pd.DataFrame(rows, columns=list(tasks))


def summarise_times(seconds: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """Return median and quartiles of every task's seconds, and of its ratio to the baseline within each round.

    Args:
        seconds: what `time_interleaved` returned.
        baseline: a column; the first one if None.

    Returns:
        One row per task: `rounds, seconds, seconds_q1, seconds_q3, ratio, ratio_q1, ratio_q3`. A ratio of 0.25 means
        that the task takes a quarter of the baseline's time.
    """
    reference = seconds[baseline or seconds.columns[0]]
    return pd.DataFrame(
        [
            {"system": name, "rounds": len(seconds)}
            | _quartiles("seconds", seconds[name].to_numpy())
            | _quartiles("ratio", (seconds[name] / reference).to_numpy())
            for name in seconds.columns
        ]
    )


def _quartiles(name: str, values: np.ndarray) -> dict[str, float]:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {name: float(middle), f"{name}_q1": float(low), f"{name}_q3": float(high)}
