"""`ser-nnunet benchmark predict`: from the start of a process to masks on disk, against `nnUNetv2_predict`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pandas as pd
import SimpleITK as sitk
from tqdm import tqdm

from ser_nnunet.benchmark.provenance import collect_provenance
from ser_nnunet.benchmark.tables import format_intervals, format_number, write_results
from ser_nnunet.benchmark.timing import summarise_times, time_interleaved
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, trainers_folder
from ser_nnunet.utils.memory import process_tree_memory
from ser_nnunet.utils.process_groups import running_group

SAMPLING = 0.05  # seconds between two looks at the memory, at least
IDLE = 19  # between two looks, as many times as long as one took: shared memory is slow to count


@dataclass(frozen=True)
class PredictionSettings:
    """What is compared.

    Attributes:
        images: a folder in nnU-Net's format.
        model: an exported file.
        folders: trained-model folders, by the name of their system; the first one's time is the baseline.
        folds: of each of these systems, such as `0` or `all`; nnU-Net predicts by their mean.
        output: folder for the tables.
        rounds: that are measured.
        mirror: the same for all systems, as the next one.
        step: distance of neighbouring tiles, in tiles.
        threads: of the exported model and of nnU-Net's network; every core by default.
    """

    images: Path
    model: Path
    folders: dict[str, Path]
    folds: dict[str, tuple[str, ...]]
    output: Path
    rounds: int = 3
    mirror: bool = True
    step: float = 0.5
    threads: int | None = None


def commands(settings: PredictionSettings, masks: Path) -> dict[str, tuple[list[str], Path]]:
    """Return the command of every system and the folder that it writes its masks to."""
    found: dict[str, tuple[list[str], Path]] = {}
    for name, folder in settings.folders.items():
        target = masks / f"nnunet {len(found)}"
        command = [sys.executable, "-c", NNUNET, "-m", str(folder), "-i", str(settings.images), "-o", str(target)]
        command += [
            "-f",
            *settings.folds[name],
            "-device",
            "cpu",
            "-step_size",
            str(settings.step),
            "--disable_progress_bar",
        ]
        found[name] = (command + ([] if settings.mirror else ["--disable_tta"]), target)
    target = masks / "exported"
    command = [sys.executable, str(settings.model), "-i", str(settings.images), "-o", str(target)]
    command += ["--step", str(settings.step), "--tta", "mirror" if settings.mirror else "off"]
    found["exported file"] = (command, target)
    return found


# nnUNetv2_predict_from_modelfolder, wherever its script was installed.
NNUNET = "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as main; main()"


@dataclass
class Costs:
    """What a system's runs took: `cpu` seconds of each (with worker processes), and the `peak` memory in bytes."""

    cpu: list[float] = field(default_factory=list)
    peak: int = 0


def run_process(command: Sequence[str], target: Path, environment: dict[str, str], costs: Costs) -> None:
    """Run a command into an empty folder, and note its costs.

    Raises:
        UserError: it failed; with the end of its output.
    """
    shutil.rmtree(target, ignore_errors=True)
    before = os.times()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with running_group(command, env=environment, text=True, **pipes) as process:
        ended, seen = Event(), [0]

        def watch() -> None:
            pause = SAMPLING
            while not ended.wait(pause):
                began = time.perf_counter()
                seen.append(process_tree_memory(process.pid))
                pause = max(SAMPLING, IDLE * (time.perf_counter() - began))

        watcher = Thread(target=watch)
        watcher.start()
        try:
            output = process.communicate()[0]
        finally:
            ended.set()
            watcher.join()
    if process.returncode:
        raise UserError(f"{' '.join(command[:3])} ... failed:\n" + "\n".join(output.splitlines()[-5:]))
    after = os.times()
    costs.cpu.append(after.children_user + after.children_system - before.children_user - before.children_system)
    costs.peak = max(costs.peak, *seen)


def run_predictions(settings: PredictionSettings) -> list[Path]:
    """Time all systems in turn; write and return the tables `predict.csv` and `predict.md`.

    Raises:
        UserError: a prediction failed.
    """
    environment = {**os.environ, EXTERNAL_TRAINERS: os.environ.get(EXTERNAL_TRAINERS, str(trainers_folder()))}
    if settings.threads is not None:
        environment |= {"OMP_NUM_THREADS": str(settings.threads), "nnUNet_def_n_proc": str(settings.threads)}
    with tempfile.TemporaryDirectory() as folder:
        systems = commands(settings, Path(folder))
        if settings.threads is not None:
            systems["exported file"][0].extend(["--threads", str(settings.threads)])
        costs = {name: Costs() for name in systems}
        tasks: dict[str, Callable[[], object]] = {
            name: partial(run_process, command, target, environment, costs[name])
            for name, (command, target) in systems.items()
        }
        with tqdm(total=settings.rounds * len(tasks), desc="predictions", unit="run") as bar:
            seconds = time_interleaved(tasks, settings.rounds, 0, after_each=bar.update)
        agreement = {name: compare_masks(target, systems["exported file"][1]) for name, (_, target) in systems.items()}
    table = summarise_times(seconds)
    table["cpu_seconds"] = [float(np.median(costs[name].cpu)) for name in table["system"]]
    table["peak_bytes"] = [costs[name].peak for name in table["system"]]
    table["agreement"] = [agreement[name] for name in table["system"]]
    rounds = (
        seconds.rename_axis("round").reset_index().melt(["round"], var_name="system", value_name="seconds_of_round")
    )
    about = collect_provenance(
        images=len(list(settings.images.iterdir())),
        mirroring=settings.mirror,
        step=settings.step,
        rounds=settings.rounds,
    )
    shown = pd.DataFrame(
        {
            "system": table["system"],
            "seconds": format_intervals(table, ["seconds", "seconds_q1", "seconds_q3"]),
            "of the first one's time": format_intervals(table, ["ratio", "ratio_q1", "ratio_q3"], 2),
            "CPU seconds": [format_number(value) for value in table["cpu_seconds"]],
            "peak memory, MiB": [format_number(value / 2**20) for value in table["peak_bytes"]],
            "same voxels as the exported file's masks": [f"{value:.5%}" for value in table["agreement"]],
        }
    )
    notes = [
        "From the start of a process to its end, all masks written; in turn, so that other load slows all alike.",
        "Memory is the sum of the resident (on Linux: proportional) sizes of a process and its descendants.",
    ]
    merged = rounds.merge(table, on="system")
    return write_results(settings.output, "predict", merged, [("Prediction", shown)], notes, about)


def compare_masks(one: Path, other: Path) -> float:
    """Return the part of voxels with the same label in the masks of two folders."""
    same = total = 0
    for file in sorted(file for file in other.iterdir() if file.suffix != ".json"):
        first, second = (sitk.GetArrayFromImage(sitk.ReadImage(str(each / file.name))) for each in (one, other))
        same, total = same + int(np.count_nonzero(first == second)), total + first.size
    return same / total
