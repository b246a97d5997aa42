"""Where a cross-validation stands, as text: configuration x fold, then what needs a user's attention."""

from __future__ import annotations

from collections.abc import Sequence

from ser_nnunet.cluster.crossval_states import DONE, RUNNING, WAITING, TaskState
from ser_nnunet.cluster.task_record import FAILED
from ser_nnunet.utils.printable import counted


def format_duration(seconds: float) -> str:
    """Return seconds as `45 s`, `12 min`, `3 h 05 min` or `2 d 4 h`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def describe(state: TaskState) -> str:
    """Return a table's cell: `done 0.873`, `epoch 12/50, Dice 0.61, 3 min left`, `waiting`, ..."""
    again = (
        f", restarted {state.requeues} times" if state.requeues > 1 else ", restarted once" if state.requeues else ""
    )
    if state.state == DONE:
        return f"done{'' if state.dice is None else f' {state.dice:.3f}'}{again}"
    progress = state.progress
    if state.state != RUNNING:
        epoch = f" at epoch {progress.finished}" if progress and progress.finished and state.state != FAILED else ""
        return f"{state.state}{epoch}{again}"
    if progress is None:
        return f"running{again}"
    if progress.planned is None:
        return f"starting{again}"
    if progress.finished >= progress.planned:
        return f"validating{again}"
    parts = [f"epoch {progress.finished}/{progress.planned}"]
    parts += [f"Dice {progress.dice:.3f}"] if progress.dice is not None else []
    parts += [f"{format_duration(progress.seconds_left)} left"] if progress.seconds_left is not None else []
    return ", ".join(parts) + again


def table_of(states: Sequence[TaskState]) -> tuple[list[str], list[tuple[str, list[TaskState | None]]]]:
    """Return the folds, and every trained model with its state per fold."""
    trainings = [state for state in states if state.progress is not None]
    folds = list(dict.fromkeys(state.task.name for state in trainings))
    models = dict.fromkeys(state.task.group for state in trainings)
    by_place = {(state.task.group, state.task.name): state for state in trainings}
    return folds, [(model, [by_place.get((model, fold)) for fold in folds]) for model in models]


def follow_ups_of(states: Sequence[TaskState]) -> list[TaskState]:
    """Return the states of the steps after the trainings."""
    return [state for state in states if state.progress is None]


def attention(states: Sequence[TaskState]) -> list[TaskState]:
    """Return the states that a user should look at."""
    return [state for state in states if state.state == FAILED]


def format_states(states: Sequence[TaskState]) -> str:
    """Return the whole text."""
    folds, models = table_of(states)
    header = ["", *(f"fold {fold}" for fold in folds)]
    rows = [[model, *("" if each is None else describe(each) for each in row)] for model, row in models]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    for state in follow_ups_of(states):
        reason = f" ({state.reason})" if state.reason and state.state not in (DONE, WAITING, FAILED) else ""
        lines.append(f"{state.task.key}: {describe(state)}{reason}")
    for state in attention(states):
        lines += ["", f"{state.task.key} failed: {state.reason}", *(f"    {line}" for line in state.tail)]
        lines.append(f"  whole output: less {state.log}")
    counts: dict[str, int] = {}
    for state in states:
        counts[state.state] = counts.get(state.state, 0) + 1
    lines += ["", f"{counted(len(states), 'task')}: " + ", ".join(f"{count} {name}" for name, count in counts.items())]
    return "\n".join(lines)
