"""A picture of a training's losses and of Dice, beside nnU-Net's progress.png, which has nnU-Net's own values alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context, rcdefaults
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ser_nnunet.utils.files import replacing

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # of Okabe and Ito, which colour-blind people can tell apart
PICTURE = "progress_guidance.png"


def draw_log(
    log: Mapping[str, Sequence[float]], panels: Mapping[str, Mapping[str, str]], file: Path, phase_end: int = 0
) -> None:
    """Draw values of nnU-Net's log, one curve per value over the epochs, and replace `file` with the PNG.

    Args:
        log: of which every value has one entry per epoch; NaN where it is undefined, which leaves a gap.
        panels: label of the vertical axis -> name in the legend -> key in the log.
        file: the picture.
        phase_end: the first epoch of a second phase, marked by a vertical line; 0 marks none.
    """
    with rc_context():
        rcdefaults()  # nnU-Net enlarges all text for its own picture
        figure = Figure(figsize=(8, 3.2 * len(panels)), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (label, curves) in zip(
            figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels.items(), strict=True
        ):
            for colour, (name, key) in zip(COLOURS, curves.items(), strict=False):
                values = np.asarray(log[key], float)
                marker = "o" if np.isfinite(values).sum() < 30 else None  # a single epoch is no line
                axes.plot(values, color=colour, label=name, marker=marker, markersize=3)
            if 0 < phase_end < len(log["train_losses"]):
                axes.axvline(phase_end - 0.5, color="0.5", linestyle="--", linewidth=1, label="SAM is released")
            axes.set(xlabel="epoch", ylabel=label)
            axes.grid(alpha=0.3)
            axes.legend(loc="best", fontsize="small")
        with replacing(file) as unfinished:
            figure.savefig(unfinished, format="png", dpi=100)
