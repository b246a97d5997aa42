"""What a cross-validation consists of, and what its jobs ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import RAW, RESULTS, nnunet_folder
from ser_nnunet.utils.files import read_json, write_json
from ser_nnunet.utils.json_files import validate

FOLLOW_UPS = ("best", "predict", "evaluate", "report")
"""The steps after the trainings, in their order; like configurations, they may have a time and memory of their own."""

DURATION = re.compile(
    r"(?:(?P<days>\d{1,20})-)?(?P<hours>\d{1,20}):(?P<minutes>\d\d)(?::\d\d)?|(?P<count>\d{1,20})(?P<unit>[dhm])"
)
MINUTES = {"d": 24 * 60, "h": 60, "m": 1}
MOST_MINUTES = 365 * MINUTES["d"]
"""Of a job's time limit: SLURM counts in 32 bits, and no cluster lets a job run for a year."""


@dataclass(frozen=True)
class Resources:
    """What one job asks for.

    Attributes:
        minutes: time limit; a training that needs longer is requeued and resumes.
        memory_gb: of the machine, not of the GPU.
        slurm: further options of sbatch, by their names without dashes; they replace the others.
    """

    gpus: int
    cpus: int
    minutes: int
    memory_gb: float
    slurm: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CrossvalSettings:
    """Everything that `ser-nnunet crossval` was told.

    Attributes:
        dataset: such as `Dataset501_Lesions`.
        configurations: in the plan's names.
        folds: numbers as text, or `all`.
        trainer: as after `-tr`.
        compare: further trainers, which `ser-nnunet evaluate` compares with the first.
        predict: folder of images, or None.
        device: `cuda`, `cpu` or `mps`.
        engine: `slurm` or `local`.
        minutes, memory_gb: by configuration or follow-up step; the entry "" is for all others.
        slurm: the same, of options of sbatch.
    """

    dataset: str
    configurations: tuple[str, ...]
    folds: tuple[str, ...]
    trainer: str
    compare: tuple[str, ...] = ()
    plans: str = "nnUNetPlans"
    predict: str | None = None
    device: str = "cuda"
    engine: str = "slurm"
    gpus_per_job: int = 1
    cpus_per_job: int = 12
    minutes: Mapping[str, int] = field(default_factory=dict)
    memory_gb: Mapping[str, float] = field(default_factory=dict)
    slurm: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def trainers(self) -> tuple[str, ...]:
        """The trainer and those that are compared with it."""
        return (self.trainer, *self.compare)

    @property
    def folder(self) -> Path:
        """Where the cross-validation keeps records, logs and results, beside the data set's trained models."""
        return results_of(self.dataset) / "crossval"

    @property
    def raw(self) -> Path:
        """The data set's folder in nnUNet_raw; `UserError` if the variable isn't set."""
        root = nnunet_folder(RAW)
        if root is None:
            raise UserError(f"{RAW} isn't set: export nnU-Net's paths")
        return root / self.dataset

    def resources(self, name: str, needs_gpu: bool, default_minutes: int, default_gb: float) -> Resources:
        """Return what a job of a configuration or follow-up step asks for."""
        return Resources(
            gpus=self.gpus_per_job if needs_gpu and self.device == "cuda" else 0,
            cpus=self.cpus_per_job,
            minutes=self.minutes.get(name, self.minutes.get("", default_minutes)),
            memory_gb=self.memory_gb.get(name, self.memory_gb.get("", default_gb)),
            slurm={**self.slurm.get("", {}), **self.slurm.get(name, {})},
        )

    def write(self) -> None:
        """Keep the settings for `--status`, `--cancel` and `--retry-failed`."""
        content: Any = TypeAdapter(CrossvalSettings).dump_python(self, mode="json")
        write_json(settings_file(self.dataset), content)


def results_of(dataset: str) -> Path:
    """Return a data set's folder in nnUNet_results, whether it exists or not; `UserError` if the variable isn't set."""
    root = nnunet_folder(RESULTS)
    if root is None:
        raise UserError(f"{RESULTS} isn't set: export nnU-Net's paths")
    return root.resolve() / dataset


def settings_file(dataset: str) -> Path:
    """Return where `CrossvalSettings.write` keeps the settings of a data set's last cross-validation."""
    return results_of(dataset) / "crossval" / "settings.json"


def read_settings(dataset: str) -> CrossvalSettings:
    """Return the settings of a data set's last cross-validation; `UserError` if there are none that can be read."""
    file = settings_file(dataset)
    try:
        settings: CrossvalSettings = validate(read_json(file), CrossvalSettings)
    except FileNotFoundError:
        raise UserError(f"no cross-validation of {dataset} has been started: {file} is absent") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: settings of ser-nnunet crossval expected, but\n{error}") from error
    return settings


def parse_minutes(text: str) -> int:
    """Return the minutes of `24h`, `90m`, `2d`, `12:30` (hours and minutes), `12:30:00` or `1-12:00`.

    Raises:
        ValueError: it is none of these, less than a minute, or more than a year.
    """
    match = DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no time such as 24h, 90m, 12:30:00 or 1-12:00:00")
    if match["unit"]:
        minutes = int(match["count"]) * MINUTES[match["unit"]]
    else:
        minutes = (int(match["days"] or 0) * 24 + int(match["hours"])) * 60 + int(match["minutes"])
    if not 1 <= minutes <= MOST_MINUTES:
        raise ValueError(f"{text[:40]!r} is not within 1m to {MOST_MINUTES // MINUTES['d']}d")
    return minutes
