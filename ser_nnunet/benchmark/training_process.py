"""The process that trains, started by `runs.py`: `python -m ser_nnunet.benchmark.training_process FOLDER`."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import sys
import zipfile
from pathlib import Path
from threading import Thread
from time import perf_counter, sleep
from typing import Any

import numpy as np
import torch
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

CURVE = {
    "pseudo_dice": "mean_fg_dice",
    "train_loss": "train_losses",
    "val_loss": "val_losses",
    "learning_rate": "lrs",
}
CHECKPOINTS = ("checkpoint_latest.pth", "checkpoint_best.pth")


class CurveWriter:
    """A logger of nnU-Net's that keeps `curve.csv` up to date."""

    def __init__(self, trainer: nnUNetTrainer, file: Path) -> None:
        self.trainer, self.file = trainer, file

    def log(self, key: str, value: Any, step: int) -> None:
        """Write the curve when nnU-Net logs the end of an epoch."""
        if key == "epoch_end_timestamps":
            write_curve(self.trainer, self.file)

    def update_config(self, config: dict) -> None:
        """Nothing to keep."""

    def log_summary(self, key: str, value: Any) -> None:
        """Nothing to keep."""


def write_curve(trainer: nnUNetTrainer, file: Path) -> None:
    """Write one row per epoch so far: pseudo Dice, losses, learning rate, seconds."""
    logged = trainer.logger.local_logger.my_fantastic_logging
    seconds = epoch_seconds(trainer)
    unfinished = file.with_suffix(".unfinished")
    with unfinished.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["epoch", "iterations", *CURVE, "seconds"])
        for epoch, duration in enumerate(seconds):
            values = [float(logged[key][epoch]) for key in CURVE.values()]
            writer.writerow([epoch, (epoch + 1) * trainer.num_iterations_per_epoch, *values, duration])
    unfinished.replace(file)


def epoch_seconds(trainer: nnUNetTrainer) -> list[float]:
    """Return the wall time of every finished epoch, those before an interruption included."""
    logged = trainer.logger.local_logger.my_fantastic_logging
    stamps = zip(logged["epoch_start_timestamps"], logged["epoch_end_timestamps"], strict=False)
    return [float(end - start) for start, end in stamps]


def build_trainer(spec: dict[str, Any]) -> nnUNetTrainer:
    """Return the trainer with the benchmark's schedule, which must be set before it builds its optimiser."""
    trainer = get_trainer_from_args(
        spec["dataset"],
        spec["configuration"],
        spec["fold"],
        spec["trainer"],
        spec["plans"],
        device=torch.device(spec["device"]),
    )
    trainer.num_epochs = spec["epochs"]
    trainer.num_iterations_per_epoch = spec["iterations"]
    trainer.num_val_iterations_per_epoch = spec["val_iterations"]
    trainer.save_every = spec["save_every"]
    return trainer


def last_checkpoint(folder: Path) -> Path | None:
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


def use_device(device: str, threads: int) -> None:
    """Set what nnUNetv2_train sets: the threads, and cudnn's benchmark mode on a GPU."""
    torch.set_num_threads(threads)
    if device == "cuda":
        torch.backends.cudnn.deterministic = False
        torch.backends.cudnn.benchmark = True


def end_with(parent: int) -> None:
    """End this process when the benchmark that started it is gone, killed or not: nobody would look after it."""

    def watch() -> None:
        while os.getppid() == parent:
            sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, daemon=True).start()


def main(folder: Path) -> None:
    """Train from the start or the last checkpoint, predict the fold's validation cases, write `finished.json`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("interrupted"))  # an exit ends the workers, a kill doesn't
    spec = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    end_with(spec["parent"])
    use_device(spec["device"], spec["threads"])
    seed_everything(spec["seed"])
    trainer = build_trainer(spec)
    checkpoint = last_checkpoint(Path(trainer.output_folder))
    if checkpoint is not None:
        trainer.load_checkpoint(str(checkpoint))
        seed_everything(spec["seed"] + 1000 * trainer.current_epoch)  # not the first epochs' patches again
        trainer.print_to_log_file(f"going on from {checkpoint.name} at epoch {trainer.current_epoch}")
    trainer.logger.loggers.append(CurveWriter(trainer, folder / "curve.csv"))
    if trainer.current_epoch < trainer.num_epochs:
        trainer.run_training()
    write_curve(trainer, folder / "curve.csv")
    start = perf_counter()
    trainer.perform_actual_validation()
    report(trainer, folder, perf_counter() - start)


def report(trainer: nnUNetTrainer, folder: Path, predicting: float) -> None:
    """Write what the tables need."""
    finished = {
        "train_seconds": sum(epoch_seconds(trainer)),
        "predict_seconds": predicting,
        "parameters": sum(parameter.numel() for parameter in trainer.network.parameters()),
        "batch_size": int(trainer.batch_size),
        "iterations": trainer.num_epochs * trainer.num_iterations_per_epoch,
        "predictions": str((Path(trainer.output_folder) / "validation").relative_to(folder.resolve())),
    }
    unfinished = folder / "finished.unfinished"
    unfinished.write_text(json.dumps(finished, indent=1), encoding="utf-8")
    unfinished.replace(folder / "finished.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
