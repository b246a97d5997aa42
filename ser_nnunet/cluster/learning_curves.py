"""Learning curves as SVG: pseudo Dice and losses of every fold of a model."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ser_nnunet.cluster.crossval_states import TaskState
from ser_nnunet.utils.figures import own_style

# Okabe and Ito's colours, which differ with every kind of colour vision; the line styles repeat them.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLES = ("-", "--", "-.", ":")
SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched and read by screen readers
    "svg.hashsalt": "ser-nnunet",
    "text.parse_math": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_learning_curves(model: str, states: Sequence[TaskState | None]) -> str:
    """Return an SVG with the pseudo Dice above and the losses below, a line per fold; "" before the first epoch.

    Args:
        model: name, for the title that screen readers read.
        states: of its folds; None for a fold that isn't trained.
    """
    begun = [state for state in states if state is not None and state.progress is not None and state.progress.epochs]
    if not begun:
        return ""
    with own_style(SETTINGS):
        figure = Figure(figsize=(4.2, 4.2), layout="constrained")
        FigureCanvasSVG(figure)
        dice, loss = figure.subplots(2, 1, sharex=True)
        for number, state in enumerate(begun):
            colour, style = COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS) % len(STYLES)]
            _draw(dice, loss, state, colour, style)
        dice.set_ylabel("pseudo Dice")
        dice.set_ylim(-0.02, 1.02)
        loss.set_ylabel("loss: training, validation (thin)")
        loss.set_xlabel("epoch")
        loss.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside upper center", ncols=5, frameon=False, handlelength=1.4, columnspacing=1.0)
        output = io.StringIO()
        figure.savefig(output, format="svg", transparent=True, metadata={"Date": None, "Title": f"{model}"})
    return output.getvalue()[output.getvalue().index("<svg") :]


def _draw(dice: Axes, loss: Axes, state: TaskState, colour: str, style: str) -> None:
    """Draw one fold; a point is drawn where a curve has one epoch only."""
    assert state.progress is not None
    numbers = sorted(state.progress.epochs)
    epochs = [state.progress.epochs[number] for number in numbers]
    look: dict[str, Any] = {"color": colour, "linestyle": style, "marker": "o" if len(numbers) == 1 else ""}
    dice.plot(numbers, [epoch.dice for epoch in epochs], label=f"fold {state.task.name}", **look)
    loss.plot(numbers, [epoch.train_loss for epoch in epochs], **look)
    loss.plot(numbers, [epoch.val_loss for epoch in epochs], linewidth=0.7, alpha=0.7, **look)
    for start in state.progress.starts[1:]:  # where the training resumed
        dice.axvline(start - 0.5, color=colour, linewidth=0.5, alpha=0.5)
