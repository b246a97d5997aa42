"""A small data set of every kind of labels, planned by nnU-Net."""

import sys
from pathlib import Path

import pytest

from tests.nnunet_raw import volume, write_raw_dataset
from tests.nnunet_workplace import INTERRUPTIBLE, Workplace

LABELS = {
    "classes": {"labels": {"background": 0, "shell": 1, "core": 2}},
    "regions": {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]},
    "ignore": {"labels": {"background": 0, "shell": 1, "core": 2, "ignore": 3}},
}
IDS = {name: 901 + index for index, name in enumerate(LABELS)}

# Trainers of a few seconds, in a folder of their own, as a user's variants are.
TRAINERS = (
    INTERRUPTIBLE
    + """
from ser_nnunet.training.variants import SERTrainerTwoPhases

class Tiny:
    num_epochs, num_iterations_per_epoch, num_val_iterations_per_epoch = 4, 3, 1
    guided_fraction = 0.5

class TinySER(Tiny, SERTrainerTwoPhases):
    pass

class LogsPhase:
    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        detached = self.schedule.detached(self.current_epoch)
        self.print_to_log_file("detached", detached, "SAM", self.guidance is not None)

class TinySERResumed(Interruptible, LogsPhase, Tiny, SERTrainerTwoPhases):
    pass
"""
)


def write_dataset(raw: Path, kind: str, cases: int = 6) -> None:
    volumes = {f"case_{index}": volume(index) for index in range(cases)}
    if kind == "ignore":
        for index in range(1, cases, 2):
            volumes[f"case_{index}"][1][::2] = 3  # every other slice of every other case carries no annotation
    folder = raw / f"Dataset{IDS[kind]:03d}_{kind.capitalize()}"
    write_raw_dataset(folder, LABELS[kind], volumes, {"new": volume(99)[0]})


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    """All kinds of labels, converted, planned and preprocessed once."""
    place = Workplace(tmp_path_factory.mktemp("nnunet"), TRAINERS)
    for kind in LABELS:
        write_dataset(place.folder / "raw", kind)
    numbers = IDS.values()
    planning = ("nnUNetv2_plan_and_preprocess", "-d", *numbers, "-c", "2d", "3d_fullres", "-npfp", 1, "-np", 1)
    place.run(sys.executable, "-m", "tests.nnunet_small", *planning, nnUNet_n_proc_DA="1")
    return place
