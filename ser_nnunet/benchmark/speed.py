"""`ser-nnunet benchmark speed`: training steps and predicted volumes, interleaved, as ratios to nnU-Net's."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ser_nnunet.benchmark.tables import spans, words, write_results
from ser_nnunet.benchmark.timing import interleave, summarise_times
from ser_nnunet.errors import UserError

if TYPE_CHECKING:
    from ser_nnunet.nnunet.plans import Planned

NOTES = [
    "Rounds: every system once per round, in turn, after warm-up rounds that don't count. Times: median over the"
    " rounds (quartiles). Ratios: within each round to nnU-Net's time, then median (quartiles); below 1 is faster.",
    "Training step: train_step of the named network's own trainer on a fixed batch in memory (forward, loss,"
    " backward, gradient clipping, optimiser), without data loading; nnU-Net with deep supervision, SERNet without.",
    "Prediction: nnUNetPredictor.predict_sliding_window_return_logits of a random volume; no resampling, no files.",
    "SAM's encoder: one slice, random weights; its ratio is to nnU-Net's prediction of one slice without mirroring.",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what only `speed` has."""
    number = {"type": int, "metavar": "N"}
    add = parser.add_argument
    add("--rounds", default=10, help="that count (default: 10)", **number)  # type: ignore[arg-type]
    add("--warmup", default=2, help="rounds that don't (default: 2)", **number)  # type: ignore[arg-type]
    add("--batch-size", help="of the training step (default: the plan's)", **number)  # type: ignore[arg-type]
    slices = "2D: predict a slab of so many slices instead of the whole volume (the time is proportional)"
    add("--slices", help=slices, **number)  # type: ignore[arg-type]
    add("--threads", help="of torch on the CPU (default: all cores)", **number)  # type: ignore[arg-type]
    add("--sam-checkpoint", type=Path, metavar="FILE", help="adds a SAM-guided training step")
    size = "pixels at which SAM sees a slice while training (default: the checkpoint's own)"
    add("--sam-image-size", help=size, **number)  # type: ignore[arg-type]
    encoder = "time SAM's image encoder too: ViT-B, ViT-L or ViT-H (no weights needed)"
    add("--sam-encoder", metavar="SIZE", choices=("ViT-B", "ViT-L", "ViT-H"), help=encoder)
    add("--sam-encoder-sizes", type=int, nargs="+", default=[1024], metavar="PX", help="(default: 1024)")


def run(args: argparse.Namespace) -> int:
    """Time everything, write speed.csv, speed_rounds.csv and speed.md, show the tables."""
    import torch

    from ser_nnunet.benchmark.plan_source import planned_from
    from ser_nnunet.benchmark.provenance import provenance

    _check(args)
    torch.set_num_threads(args.threads or os.cpu_count() or 1)
    planned, _ = planned_from(args)
    volume = _volume(planned, args.slices)
    batch_size = args.batch_size or int(planned.settings.batch_size)
    about = provenance(
        args.device,
        configuration=args.c,
        patch=" x ".join(map(str, planned.patch)),
        batch_size=batch_size,
        volume=" x ".join(map(str, volume)),
        channels=planned.channels,
    )
    rounds = time_all(planned, volume, batch_size, args)
    table = summarise(rounds)
    written = write_results(args.o, "speed", table, readable(table, about), NOTES, about)
    raw = args.o / "speed_rounds.csv"
    rounds.to_csv(raw, index=False)
    print(written[1].read_text(encoding="utf-8"))
    print(f"written to {', '.join(map(str, [*written, raw]))}")
    return 0


def _check(args: argparse.Namespace) -> None:
    problems = [
        f"--{name} must be at least {least}, {value} given"
        for name, value, least in (
            ("rounds", args.rounds, 1),
            ("warmup", args.warmup, 0),
            ("batch-size", args.batch_size, 1),
            ("slices", args.slices, 1),
            ("threads", args.threads, 1),
        )
        if value is not None and value < least
    ]
    if args.sam_checkpoint and not args.sam_checkpoint.is_file():
        problems.append(f"--sam-checkpoint {args.sam_checkpoint}: no such file")
    if any(size < 16 or size % 16 for size in args.sam_encoder_sizes):
        problems.append(f"--sam-encoder-sizes: multiples of SAM's patch of 16 expected, {args.sam_encoder_sizes} given")
    if problems:
        raise UserError("; ".join(problems))


def _volume(planned: Planned, slices: int | None) -> tuple[int, ...]:
    if slices is None:
        return planned.volume
    if len(planned.patch) != 2:
        raise UserError(f"--slices is for 2D plans, {planned.configuration} has 3D patches: leave it out")
    return min(slices, planned.volume[0]), *planned.volume[1:]


def time_all(planned: Planned, volume: tuple[int, ...], batch_size: int, args: argparse.Namespace) -> pd.DataFrame:
    """Return one row per measurement: `task, system, round, seconds`."""
    import torch

    from ser_nnunet.benchmark import timed_tasks as steps

    device = torch.device(args.device)
    with tempfile.TemporaryDirectory(prefix="ser_benchmark_") as folder:
        tasks = steps.training_steps(
            planned, batch_size, device, Path(folder), args.sam_checkpoint, args.sam_image_size
        )
        tables = {"training step": _time("training step", tasks, args)}
    for name, mirroring in (("prediction", False), ("prediction with mirroring", True)):
        tables[name] = _time(name, steps.predictions(planned, volume, device, mirroring), args)
    if args.sam_encoder:
        one = (1, *planned.volume[1:])
        tasks = {"nnU-Net": steps.predictions(planned, one, device, False)["nnU-Net"]}
        tasks |= steps.sam_encoders(args.sam_encoder, args.sam_encoder_sizes, device)
        tables["one slice"] = _time("one slice", tasks, args)
    return pd.concat([_long(name, table) for name, table in tables.items()], ignore_index=True)


def _long(task: str, seconds: pd.DataFrame) -> pd.DataFrame:
    table = seconds.rename_axis("round").reset_index().melt(["round"], var_name="system", value_name="seconds")
    return table.assign(task=task)[["task", "system", "round", "seconds"]]


def _time(name: str, tasks: dict[str, Callable[[], object]], args: argparse.Namespace) -> pd.DataFrame:
    import torch
    from tqdm import tqdm

    waits = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}
    total = (args.warmup + args.rounds) * len(tasks)
    with tqdm(total=total, desc=name, unit="run") as bar:
        return interleave(tasks, args.rounds, args.warmup, waits.get(args.device, lambda: None), bar.update)


def summarise(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return medians, quartiles and ratios, one row per task and system."""
    tables = []
    for task, rows in rounds.groupby("task", sort=False):
        wide = rows.pivot(index="round", columns="system", values="seconds")[list(dict.fromkeys(rows["system"]))]
        tables.append(summarise_times(wide, "nnU-Net").assign(task=task))
    table = pd.concat(tables, ignore_index=True)
    return table[["task", *table.columns.drop("task")]]


def readable(table: pd.DataFrame, about: dict[str, str]) -> list[tuple[str, pd.DataFrame]]:
    """Return a heading and a table for people per task."""
    sizes = {
        "training step": f"batch {about['batch size']} of {about['patch']}",
        "one slice": "SAM's encoder",
    }
    shown = []
    for task, rows in table.groupby("task", sort=False):
        words_of = pd.DataFrame(
            {
                "system": rows["system"],
                "seconds": spans(rows, ["seconds", "seconds_q1", "seconds_q3"]),
                "of nnU-Net's time": spans(rows, ["ratio", "ratio_q1", "ratio_q3"], 2),
                "times as fast": [words(1 / ratio, 2) for ratio in rows["ratio"]],
            }
        )
        heading = f"{str(task).capitalize()} ({sizes.get(str(task), 'volume ' + about['volume'])})"
        shown.append((heading, words_of))
    return shown
