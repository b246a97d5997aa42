"""Draw guidance.png from the guidance_*_accuracy.csv beside this file:  python docs/benchmarks/draw_guidance.py"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
DATA = {"hippocampus": "Hippocampus (real): mean Dice", "phantom": "MS phantom (simulated): lesion Dice"}
SIZES = ("5", "10", "20", "all")
UNGUIDED = "SERTrainerNoSAM"
GUIDED = ("SERTrainer", "SERTrainerJoint", "SERTrainerSAMDistill")
RENAMED = {"SERTrainerImitate": "SERTrainerSAMDistill"}  # as the tables were recorded: as it is called now
SPREAD = 0.14  # between the trainers of one size


def read(data: str) -> pd.DataFrame:
    """Return the Dice over all classes, one row per trainer and number of training cases that has a table."""
    tables = []
    for size in SIZES:
        file = HERE / f"guidance_{data}_{size}_accuracy.csv"
        if file.is_file():
            tables.append(pd.read_csv(file).assign(size=size))
    rows = pd.concat(tables).replace({"trainer": RENAMED})
    return rows[(rows["metric"] == "Dice") & ~rows.duplicated(["trainer", "size", "metric"])]


def draw(axes: Axes, rows: pd.DataFrame, title: str) -> None:
    """Draw each guided trainer's difference to the unguided one, with its interval."""
    sizes = [size for size in SIZES if size in set(rows["size"])]
    for number, trainer in enumerate(GUIDED):
        own = rows[rows["trainer"] == trainer].set_index("size").reindex(sizes)
        places = [place + SPREAD * (number - 1) for place in range(len(sizes))]
        errors = [own["difference"] - own["difference_low"], own["difference_high"] - own["difference"]]
        axes.errorbar(places, own["difference"], errors, fmt="o", color=f"C{number}", capsize=3, label=trainer)
    axes.axhline(0, color="black", linewidth=1)
    unguided = rows[rows["trainer"] == UNGUIDED].set_index("size")["mean"]
    axes.set_xticks(range(len(sizes)), [f"{size} cases\n({unguided[size]:.3f})" for size in sizes])
    axes.set_title(title)
    axes.grid(alpha=0.3, axis="y")


def main() -> None:
    """Write guidance.png."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    panels = figure.subplots(1, len(DATA), sharey=True)
    for axes, (data, title) in zip(panels, DATA.items(), strict=True):
        draw(axes, read(data), title)
    panels[0].set_ylabel(f"minus {UNGUIDED} (95 % interval)")
    panels[0].legend(loc="upper left")
    figure.supxlabel(f"training cases (Dice of {UNGUIDED})")
    figure.savefig(HERE / "guidance.png", dpi=110)


if __name__ == "__main__":
    main()
