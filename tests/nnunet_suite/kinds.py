"""The data sets of nnU-Net's integration tests, made by its own scripts from a small data set like hippocampus."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.dataset_conversion.volumes import LAS
from tests.nnunet_raw import volume, write_raw_dataset
from tests.nnunet_workplace import Workplace

SCRIPTS = "nnunetv2.dataset_conversion.datasets_for_integration_tests"
LOWRES_SCRIPT = "nnunetv2.tests.integration_tests.add_lowres_and_cascade"
LABELS = {"labels": {"background": 0, "Anterior": 1, "Posterior": 2}}
SHAPE = (24, 32, 24)
TEST_CASES = 2


@dataclass(frozen=True)
class Kind:
    """A data set of nnU-Net's integration tests.

    Attributes:
        number: nnU-Net's number of it.
        script: the module that makes it from data set 4.
        values: what its predictions may hold.
        classes: its classes or regions, as summary.json names them.
    """

    number: int
    script: str
    values: frozenset[int]
    classes: frozenset[str]


KINDS = {
    "plain": Kind(999, "Dataset999_IntegrationTest_Hippocampus", frozenset({0, 1, 2}), frozenset({"1", "2"})),
    "ignore": Kind(998, "Dataset998_IntegrationTest_Hippocampus_ignore", frozenset({0, 1}), frozenset({"1"})),
    "regions": Kind(
        997, "Dataset997_IntegrationTest_Hippocampus_regions", frozenset({0, 1, 2}), frozenset({"(1, 2)", "1"})
    ),
    "regions_ignore": Kind(
        996, "Dataset996_IntegrationTest_Hippocampus_regions_ignore", frozenset({0, 1, 2}), frozenset({"(1, 2)", "1"})
    ),
}


def write_hippocampus(raw: Path, cases: int, folds: int | None) -> None:
    """Write data set 4, the source of nnU-Net's integration tests: volumes of slightly different sizes.

    Args:
        raw: nnU-Net's folder of data sets.
        cases: number of training cases.
        folds: of its `splits_final.json`; None writes none, and nnU-Net splits in five folds.
    """
    rng = np.random.default_rng(4)
    shapes = [tuple(int(edge) for edge in np.array(SHAPE) + rng.integers(-2, 3, 3)) for _ in range(cases + TEST_CASES)]
    volumes = [volume(seed, shape, radius=9.0, slice_distance=1.0) for seed, shape in enumerate(shapes)]
    names = [f"hippocampus_{index:03d}" for index in range(cases + TEST_CASES)]
    train, test = names[:cases], names[cases:]
    write_raw_dataset(
        raw / "Dataset004_Hippocampus",
        LABELS,
        dict(zip(train, volumes[:cases], strict=True)),
        dict(zip(test, [image for image, _ in volumes[cases:]], strict=True)),
        spacing=(1.0, 1.0, 1.0),
        direction=LAS,
    )
    if folds is not None:
        parts = [train[fold::folds] for fold in range(folds)]
        splits = [{"train": [name for name in train if name not in part], "val": part} for part in parts]
        (raw / "Dataset004_Hippocampus/splits_final.json").write_text(json.dumps(splits))


def prepare(workplace: Workplace, kinds: list[str], configurations: list[str]) -> None:
    """Make, plan and preprocess data sets in the order of nnU-Net's integration tests, with its scripts."""
    numbers = [KINDS[kind].number for kind in kinds]
    for kind in kinds:
        workplace.run(sys.executable, "-m", f"{SCRIPTS}.{KINDS[kind].script}")
    planning = ("--verify_dataset_integrity", "--no_pp", "-npfp", 1)
    workplace.run("nnUNetv2_plan_and_preprocess", "-d", *numbers, *planning, nnUNet_n_proc_DA="1")
    workplace.run(sys.executable, "-m", LOWRES_SCRIPT, "-d", *numbers)
    # the cascade's second stage is trained on the data of 3d_fullres
    data = list(dict.fromkeys(name.replace("3d_cascade_fullres", "3d_fullres") for name in configurations))
    processes = [1] * len(data)
    workplace.run("nnUNetv2_preprocess", "-d", *numbers, "-c", *data, "-np", *processes, nnUNet_n_proc_DA="1")
