"""The process that trains, started by `runs.py`: `python -m ser_nnunet.benchmark.training_process FOLDER`.

`run.json` in the folder says what to do: dataset, configuration, fold, plans, trainer, seed, epochs, iterations,
val_iterations, save_every, device, threads, bfloat16, and parent (the benchmark's process id).
"""

from __future__ import annotations

import csv
import os
import random
import signal
import sys
import zipfile
from pathlib import Path
from threading import Thread
from time import perf_counter, sleep
from typing import Any, cast

import numpy as np
import torch
from nnunetv2.run.run_training import get_trainer_from_args

from ser_nnunet.benchmark.device import use_device
from ser_nnunet.network.layers import count_parameters
from ser_nnunet.nnunet.base_trainer import BaseTrainer, TypedTrainer
from ser_nnunet.nnunet.log import epoch_log, epoch_seconds
from ser_nnunet.utils.files import read_json, replacing, write_json
from ser_nnunet.utils.termination import handle_in_this_process

CURVE = {
    "pseudo_dice": "mean_fg_dice",
    "train_loss": "train_losses",
    "val_loss": "val_losses",
    "learning_rate": "lrs",
}
CHECKPOINTS = ("checkpoint_latest.pth", "checkpoint_best.pth")


class CurveWriter:
    """A logger of nnU-Net's that keeps `curve.csv` up to date."""

    def __init__(self, trainer: TypedTrainer, file: Path) -> None:
        self.trainer, self.file = trainer, file

    def log(self, key: str, value: Any, step: int) -> None:
        """Write the curve when nnU-Net logs the end of an epoch."""
        if key == "epoch_end_timestamps":
            write_curve(self.trainer, self.file)

    def update_config(self, config: dict) -> None:
        """Nothing to keep."""

    def log_summary(self, key: str, value: Any) -> None:
        """Nothing to keep."""


def write_curve(trainer: TypedTrainer, file: Path) -> None:
    """Write one row per epoch so far: pseudo Dice, losses, learning rate, seconds."""
    log = epoch_log(trainer)
    with replacing(file) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["epoch", "iterations", *CURVE, "seconds"])
        for epoch, seconds in enumerate(epoch_seconds(trainer)):
            values = [float(log[key][epoch]) for key in CURVE.values()]
            writer.writerow([epoch, (epoch + 1) * trainer.num_iterations_per_epoch, *values, seconds])


def build_trainer(spec: dict[str, Any]) -> TypedTrainer:
    """Return the trainer with the benchmark's schedule, which must be set before it builds its optimiser."""
    found = get_trainer_from_args(
        spec["dataset"],
        spec["configuration"],
        spec["fold"],
        spec["trainer"],
        spec["plans"],
        device=torch.device(spec["device"]),
    )
    trainer = cast(TypedTrainer, found)
    trainer.num_epochs = spec["epochs"]
    trainer.num_iterations_per_epoch = spec["iterations"]
    trainer.num_val_iterations_per_epoch = spec["val_iterations"]
    trainer.save_every = spec["save_every"]
    return trainer


def use_bfloat16(trainer: TypedTrainer) -> None:
    """Let the network compute in bfloat16 where PyTorch's autocast on the CPU allows it; losses stay in float32.

    It is the CPU's counterpart of nnU-Net's mixed precision on a GPU, and nnU-Net itself has none on the CPU. A
    teacher's network computes in the same precision.
    """
    if not trainer.was_initialized:
        trainer.initialize()
    networks = [trainer.network]
    if isinstance(trainer, BaseTrainer) and trainer.current_epoch < trainer.num_epochs:
        networks = trainer.list_networks()
    for network in networks:
        network.register_forward_hook(lambda module, inputs, outputs: to_float32(outputs))
        network.forward = torch.autocast("cpu", torch.bfloat16)(network.forward)  # type: ignore[method-assign]


def to_float32(outputs: Any) -> Any:
    """Return a network's outputs (a tensor, or a list or tuple of such) in float32."""
    if isinstance(outputs, torch.Tensor):
        return outputs.float()
    return type(outputs)(to_float32(each) for each in outputs)


def find_last_checkpoint(folder: Path) -> Path | None:
    """Return the final checkpoint, or the newest whole one: a training killed while saving leaves half a file."""
    final = folder / "checkpoint_final.pth"
    if zipfile.is_zipfile(final):
        return final
    whole = [folder / name for name in CHECKPOINTS if zipfile.is_zipfile(folder / name)]
    return max(whole, key=lambda file: file.stat().st_mtime, default=None)


def seed_everything(seed: int) -> None:
    """Seed weights and sampling; exactly repeatable on the CPU with nnUNet_n_proc_DA=0 only."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def end_with_parent(parent: int) -> None:
    """End this process when the benchmark that started it is gone, however it ended.

    Args:
        parent: the benchmark's process id.
    """

    def watch() -> None:
        while os.getppid() == parent:
            sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, daemon=True).start()


def main(folder: Path) -> None:
    """Train from the start or the last checkpoint, predict the fold's validation cases, write `finished.json`."""
    handle_in_this_process(
        signal.SIGTERM, lambda *_: sys.exit("interrupted")
    )  # an exit ends the workers, a kill doesn't
    spec = read_json(folder / "run.json")
    end_with_parent(spec["parent"])
    use_device(spec["device"], spec["threads"])
    seed_everything(spec["seed"])
    trainer = build_trainer(spec)
    checkpoint = find_last_checkpoint(Path(trainer.output_folder))
    if checkpoint is not None:
        trainer.load_checkpoint(str(checkpoint))
        seed_everything(spec["seed"] + 1000 * trainer.current_epoch)  # not the first epochs' patches again
        trainer.print_to_log_file(f"resuming from {checkpoint.name} at epoch {trainer.current_epoch}")
    if spec["bfloat16"]:
        use_bfloat16(trainer)
    loggers: list[Any] = trainer.logger.loggers
    loggers.append(CurveWriter(trainer, folder / "curve.csv"))
    if trainer.current_epoch < trainer.num_epochs:
        trainer.run_training()
    write_curve(trainer, folder / "curve.csv")
    start = perf_counter()
    trainer.perform_actual_validation()
    finished = {
        "train_seconds": sum(epoch_seconds(trainer)),
        "predict_seconds": perf_counter() - start,
        "parameters": count_parameters(trainer.network),
        "batch_size": int(trainer.batch_size),
        "iterations": trainer.num_epochs * trainer.num_iterations_per_epoch,
        "predictions": str((Path(trainer.output_folder) / "validation").relative_to(folder.resolve())),
    }
    write_json(folder / "finished.json", finished)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
