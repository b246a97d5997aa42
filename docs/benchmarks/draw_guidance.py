"""Draw guidance.png from the guidance_*_accuracy.csv beside this file:  python docs/benchmarks/draw_guidance.py"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
DATA = {"hippocampus": "Hippocampus (real)", "phantom": "MS phantom (simulated)"}
METRICS = {"Dice": "Dice", "lesion_F1": "lesion F1"}
SIZES = ("5", "10", "20", "all")
UNGUIDED = "SERTrainerNoSAM"
GUIDED = ("SERTrainer", "SERTrainerJoint", "SERTrainerSAMDistill")
RENAMED = {"SERTrainerImitate": "SERTrainerSAMDistill"}  # the tables hold the name at the time of the measurement
SPREAD = 0.14  # horizontal distance between the trainers of one size


def read_means(data: str, metric: str) -> pd.DataFrame:
    """Return a metric's mean over all classes, for every trainer and number of training cases that was measured."""
    tables = []
    for size in SIZES:
        file = HERE / f"guidance_{data}_{size}_accuracy.csv"
        if file.is_file():
            tables.append(pd.read_csv(file).assign(size=size))
    rows = pd.concat(tables)
    rows["trainer"] = rows["trainer"].replace(RENAMED)
    return rows[(rows["metric"] == metric) & (rows["class"] == "all classes")]


def draw_differences(axes: Axes, rows: pd.DataFrame, title: str) -> None:
    """Draw the difference of each guided trainer to the unguided one, with its interval."""
    sizes = [size for size in SIZES if size in set(rows["size"])]
    for number, trainer in enumerate(GUIDED):
        own = rows[rows["trainer"] == trainer].set_index("size").reindex(sizes)
        places = [place + SPREAD * (number - 1) for place in range(len(sizes))]
        reach = [own["difference"] - own["difference_low"], own["difference_high"] - own["difference"]]
        axes.errorbar(places, own["difference"], reach, fmt="o", color=f"C{number}", capsize=3, label=trainer)
    axes.axhline(0, color="black", linewidth=1)
    unguided = rows[rows["trainer"] == UNGUIDED].set_index("size")["mean"]
    axes.set_xticks(range(len(sizes)), [f"{size} cases\n({unguided[size]:.3f})" for size in sizes])
    axes.set_title(title)
    axes.grid(alpha=0.3, axis="y")


def main() -> None:
    """Write guidance.png: a row per metric, a column per data set."""
    figure = Figure(figsize=(11, 8.2), layout="constrained")
    panels = figure.subplots(len(METRICS), len(DATA), sharey="row")
    for row, (metric, name) in zip(panels, METRICS.items(), strict=True):
        for axes, (data, title) in zip(row, DATA.items(), strict=True):
            draw_differences(axes, read_means(data, metric), f"{title}: {name}")
        row[0].set_ylabel(f"{name} minus {UNGUIDED} (95 % interval)")
    panels[0][0].legend(loc="upper left")
    figure.supxlabel(f"training cases (value of {UNGUIDED})")
    figure.savefig(HERE / "guidance.png", dpi=110)


if __name__ == "__main__":
    main()
