"""`benchmark speed`: training steps and predicted volumes, interleaved, as ratios to nnU-Net's."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from ser_nnunet.benchmark.benchmark_settings import SpeedSettings, refuse_problems
from ser_nnunet.benchmark.device import count_threads, use_device
from ser_nnunet.benchmark.plan_source import load_plans
from ser_nnunet.benchmark.provenance import collect_provenance
from ser_nnunet.benchmark.tables import format_intervals, format_number, write_results
from ser_nnunet.benchmark.timed_tasks import Task, build_predictions, build_sam_encoders, build_training_steps
from ser_nnunet.benchmark.timing import summarise_times, time_interleaved
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.utils.files import write_text

NOTES = [
    "Rounds: every system once per round, in turn, after warm-up rounds that aren't measured. Times: median over the"
    " rounds (quartiles). Ratios: within each round to nnU-Net's time, then median (quartiles); below 1 is faster.",
    "Training step: train_step of the named network's own trainer on a fixed batch in memory (forward, loss,"
    " backward, gradient clipping, optimiser), without data loading; nnU-Net with deep supervision, SERNet without.",
    "Prediction: nnUNetPredictor.predict_sliding_window_return_logits of a random volume; no resampling, no files.",
    "SAM's encoder: one slice, random weights; its ratio is to nnU-Net's prediction of one slice without mirroring.",
    "On a GPU: cudnn.benchmark is on and torch has one CPU thread, as in nnUNetv2_train, unless --threads is given.",
]


def run_speed(settings: SpeedSettings) -> list[Path]:
    """Time everything; write and return speed.csv, speed.md and speed_rounds.csv.

    Sets this process's number of threads, and cudnn's benchmark mode on a GPU.

    Raises:
        UserError: what is asked for doesn't exist, or the plan names no network of nnU-Net's.
    """
    refuse_problems(settings.find_problems())
    use_device(settings.device, count_threads(settings.device, settings.threads))
    planned, _ = load_plans(settings.plan)
    volume = choose_volume(planned, settings.slices)
    batch_size = settings.batch_size or int(planned.configuration_manager.batch_size)
    about = collect_provenance(
        settings.device,
        configuration=settings.plan.configuration,
        patch=" x ".join(map(str, planned.patch_size)),
        batch_size=batch_size,
        volume=" x ".join(map(str, volume)),
        channels=planned.channels,
    )
    rounds = time_systems(planned, volume, batch_size, settings)
    table = summarise_tasks(rounds)
    written = write_results(settings.output, "speed", table, format_speed(table, about), NOTES, about)
    return [*written, write_text(settings.output / "speed_rounds.csv", rounds.to_csv(index=False))]


def choose_volume(planned: PlannedConfiguration, slices: int | None) -> tuple[int, ...]:
    """Return the volume to predict: the plan's, or at most `slices` of it.

    Raises:
        UserError: slices of a configuration with 3D patches.
    """
    if slices is None:
        return planned.volume
    if len(planned.patch_size) != 2:
        raise UserError(f"--slices is for 2D plans, {planned.configuration} has 3D patches: leave it out")
    return min(slices, planned.volume[0]), *planned.volume[1:]


def time_systems(
    planned: PlannedConfiguration, volume: tuple[int, ...], batch_size: int, settings: SpeedSettings
) -> pd.DataFrame:
    """Return one row per measurement: `task, system, round, seconds`."""
    device, sam = torch.device(settings.device), settings.sam_checkpoint
    with tempfile.TemporaryDirectory(prefix="ser_benchmark_") as folder:
        steps = build_training_steps(planned, batch_size, device, Path(folder), sam, settings.sam_image_size)
        tables = [time_task("training step", steps, settings)]
    for name, mirroring in (("prediction", False), ("prediction with mirroring", True)):
        tables.append(time_task(name, build_predictions(planned, volume, device, mirroring), settings))
    if settings.sam_encoder:
        slice_shape = (1, *planned.volume[1:])
        tasks = {"nnU-Net": build_predictions(planned, slice_shape, device, mirroring=False)["nnU-Net"]}
        tasks |= build_sam_encoders(settings.sam_encoder, settings.sam_encoder_sizes, device)
        tables.append(time_task("one slice", tasks, settings))
    return pd.concat(tables, ignore_index=True)


def time_task(task: str, systems: dict[str, Task], settings: SpeedSettings) -> pd.DataFrame:
    """Return one row per measurement of one task by several systems: `task, system, round, seconds`."""
    waits = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}
    wait = waits.get(settings.device, lambda: None)
    with tqdm(total=(settings.warmup + settings.rounds) * len(systems), desc=task, unit="run") as bar:
        seconds = time_interleaved(systems, settings.rounds, settings.warmup, wait, bar.update)
    table = seconds.rename_axis("round").reset_index().melt(["round"], var_name="system", value_name="seconds")
    return table.assign(task=task)[["task", "system", "round", "seconds"]]


def summarise_tasks(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return medians, quartiles and ratios, one row per task and system."""
    tables = []
    for task, rows in rounds.groupby("task", sort=False):
        wide = rows.pivot(index="round", columns="system", values="seconds")[list(dict.fromkeys(rows["system"]))]
        tables.append(summarise_times(wide, "nnU-Net").assign(task=task))
    table = pd.concat(tables, ignore_index=True)
    return table[["task", *table.columns.drop("task")]]


def format_speed(table: pd.DataFrame, about: dict[str, str]) -> list[tuple[str, pd.DataFrame]]:
    """Return a heading and a table of text per task."""
    sizes = {
        "training step": f"batch {about['batch size']} of {about['patch']}",
        "one slice": "SAM's encoder",
    }
    shown = []
    for task, rows in table.groupby("task", sort=False):
        text = pd.DataFrame(
            {
                "system": rows["system"],
                "seconds": format_intervals(rows, ["seconds", "seconds_q1", "seconds_q3"]),
                "of nnU-Net's time": format_intervals(rows, ["ratio", "ratio_q1", "ratio_q3"], 2),
                "times as fast": [format_number(1 / ratio, 2) for ratio in rows["ratio"]],
            }
        )
        heading = f"{str(task).capitalize()} ({sizes.get(str(task), 'volume ' + about['volume'])})"
        shown.append((heading, text))
    return shown
