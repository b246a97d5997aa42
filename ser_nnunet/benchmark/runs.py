"""One training (a trainer, a fold, a seed) in a process of its own that can be interrupted and resumed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

from ser_nnunet.nnunet.paths import PREPROCESSED, RESULTS
from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, with_trainers
from ser_nnunet.utils.files import read_json, write_json
from ser_nnunet.utils.processes import usable_cores

POLL_SECONDS = 0.5  # between two readings of a training's progress
TERMINATION_SECONDS = 30  # in which an interrupted training may stop its own workers
NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Run:
    """A trainer's run on a fold with a seed, and its folder, which holds everything that it writes.

    Files: `run.json` (what to do, and what with), `train.log` (nnU-Net's output), `curve.csv` (one line per epoch),
    `results` (nnUNet_results), and `finished.json` when all is done.
    """

    trainer: str
    fold: int
    seed: int
    folder: Path

    @property
    def title(self) -> str:
        """Trainer, fold and seed, for messages."""
        return f"{self.trainer}, fold {self.fold}, seed {self.seed}"

    @property
    def finished(self) -> dict[str, Any] | None:
        """The finished run's results; None while it isn't finished."""
        file = self.folder / "finished.json"
        return read_json(file) if file.is_file() else None

    @property
    def epochs_done(self) -> int:
        """Epochs in the learning curve so far."""
        file = self.folder / "curve.csv"
        return max(0, len(file.read_text(encoding="utf-8").splitlines()) - 1) if file.is_file() else 0

    @property
    def record(self) -> dict[str, Any]:
        """`run.json` of a run that has begun to train; empty before: a run without an epoch restricts no other."""
        file = self.folder / "run.json"
        begun = file.is_file() and (self.epochs_done or self.finished)
        return read_json(file) if begun else {}

    @property
    def software(self) -> list[str]:
        """The packages' versions that parts of the run were made with, in order."""
        return self.record.get("software", [NOT_RECORDED])

    @property
    def predictions(self) -> Path:
        """The folder of the predicted validation cases, once finished."""
        return self.folder / (self.finished or {})["predictions"]

    @property
    def log(self) -> Path:
        """nnU-Net's output."""
        return self.folder / "train.log"

    @property
    def last_log_line(self) -> str:
        """The log's last line that isn't empty."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.is_file() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")

    def train_and_predict(
        self, spec: dict[str, Any], preprocessed: Path, report_epochs: Callable[[int], object]
    ) -> bool:
        """Train and predict, from the last checkpoint if there is one; return whether it worked.

        Args:
            spec: see `training_process.py`; `software` (a string) is added to the versions of the run's earlier parts.
            preprocessed: nnUNet_preprocessed of the process.
            report_epochs: called with the number of epochs done, about twice a second.
        """
        earlier = self.software if self.epochs_done else []
        software = list(dict.fromkeys([*earlier, spec["software"]]))
        content = spec | {"trainer": self.trainer, "fold": self.fold, "seed": self.seed}
        content |= {"software": software, "parent": os.getpid()}
        write_json(self.folder / "run.json", content)
        variables = {
            "nnUNet_def_n_proc": str(min(8, usable_cores())),  # nnU-Net's own eight overload a smaller machine
            **os.environ,
            PREPROCESSED: str(preprocessed.resolve()),
            RESULTS: str((self.folder / "results").resolve()),
            EXTERNAL_TRAINERS: with_trainers(os.environ.get(EXTERNAL_TRAINERS)),
        }
        with self.log.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-u", "-m", "ser_nnunet.benchmark.training_process", str(self.folder)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=variables,
            )
            try:
                while process.poll() is None:
                    report_epochs(self.epochs_done)
                    sleep(POLL_SECONDS)
            finally:
                end_process(process)
        report_epochs(self.epochs_done)
        return process.returncode == 0 and self.finished is not None


def end_process(process: subprocess.Popen) -> None:
    """Terminate a process that still runs, so that it can end its own workers; kill it if it doesn't end in time."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(TERMINATION_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
