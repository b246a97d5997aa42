"""One training of one trainer with one seed, in a process of its own that can be interrupted and goes on later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, with_trainers

POLL = 0.5  # seconds between two looks at a training's progress
PATIENCE = 30  # seconds that an interrupted training gets to stop its own workers
NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Run:
    """A trainer's run and its state folder, which holds everything that it writes.

    Files: `run.json` (what to do, and what with), `train.log` (nnU-Net's output), `curve.csv` (one line per epoch),
    `results` (nnUNet_results), and `finished.json` when all is done.
    """

    trainer: str
    seed: int
    folder: Path

    @property
    def finished(self) -> dict[str, Any] | None:
        """What the finished run reported; None while it isn't finished."""
        file = self.folder / "finished.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    @property
    def epochs_done(self) -> int:
        """Epochs in the learning curve so far."""
        file = self.folder / "curve.csv"
        return max(0, len(file.read_text(encoding="utf-8").splitlines()) - 1) if file.is_file() else 0

    @property
    def record(self) -> dict[str, Any]:
        """`run.json` of a run that has begun to train; empty before: what never trained binds nobody."""
        file = self.folder / "run.json"
        begun = file.is_file() and (self.epochs_done or self.finished)
        return json.loads(file.read_text(encoding="utf-8")) if begun else {}

    @property
    def software(self) -> list[str]:
        """The packages' versions that have carried out parts of the run, in order."""
        return self.record.get("software", [NOT_RECORDED])

    @property
    def predictions(self) -> Path:
        """The folder of the predicted validation cases, once finished."""
        return self.folder / (self.finished or {})["predictions"]

    @property
    def log(self) -> Path:
        """nnU-Net's output."""
        return self.folder / "train.log"

    def last_words(self) -> str:
        """Return the log's last line that says something."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.is_file() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")

    def carry_out(self, spec: dict[str, Any], preprocessed: Path, progress: Callable[[int], object]) -> bool:
        """Train, predict; return whether it worked. Goes on from the last checkpoint if there is one.

        Args:
            spec: see `train.py`; `software` (a string) is added to what earlier parts of the run were made with.
            preprocessed: what the process gets as nnUNet_preprocessed.
            progress: called with the number of epochs done, about twice a second.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self.software if self.epochs_done else []
        used = list(dict.fromkeys([*before, spec["software"]]))
        content = spec | {"software": used, "trainer": self.trainer, "seed": self.seed, "parent": os.getpid()}
        (self.folder / "run.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        with self.log.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-u", "-m", "ser_nnunet.benchmark.training_process", str(self.folder)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(preprocessed),
            )
            try:
                while process.poll() is None:
                    progress(self.epochs_done)
                    sleep(POLL)
            finally:
                _stop(process)
        progress(self.epochs_done)
        return process.returncode == 0 and self.finished is not None

    def _environment(self, preprocessed: Path) -> dict[str, str]:
        cores = os.cpu_count() or 1
        return {
            "nnUNet_def_n_proc": str(min(8, cores)),  # nnU-Net's eight swamp a smaller machine
            **os.environ,
            "nnUNet_preprocessed": str(preprocessed.resolve()),
            "nnUNet_results": str((self.folder / "results").resolve()),
            EXTERNAL_TRAINERS: with_trainers(os.environ.get(EXTERNAL_TRAINERS)),
        }


def _stop(process: subprocess.Popen) -> None:
    """End an interrupted training gently, so that it ends its own workers."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
