"""The evaluation of all runs at once: every trainer and seed is a method, with the predictions of all folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ser_nnunet.benchmark.dataset_view import REFERENCES, PlannedDataset, link_to
from ser_nnunet.benchmark.runs import Run
from ser_nnunet.evaluation.case_files import find_segmentations
from ser_nnunet.evaluation.evaluator import evaluate
from ser_nnunet.evaluation.labels import read_labels
from ser_nnunet.evaluation.result import Evaluation
from ser_nnunet.evaluation.settings import Settings
from ser_nnunet.evaluation.statistics import compare_methods
from ser_nnunet.nnunet.paths import RAW, nnunet_folder
from ser_nnunet.utils.files import remove


def label_methods(runs: Sequence[Run]) -> dict[tuple[str, int], str]:
    """Return (trainer, seed) -> method of the evaluation: the trainer's name, with the seed if there are several."""
    several = len({run.seed for run in runs}) > 1
    return {(run.trainer, run.seed): f"{run.trainer} seed {run.seed}" if several else run.trainer for run in runs}


def evaluate_runs(runs: Sequence[Run], dataset: PlannedDataset, output: Path, groups: Path | None) -> Evaluation:
    """Evaluate the validation cases of all folds, every method of `label_methods` under its name.

    Args:
        runs: finished ones, each trainer with the same folds and seeds.
        dataset: whose validation cases are evaluated.
        output: gets a folder `predictions`, which links each method's predictions of all folds.
        groups: file that names every case's patient, or None.
    """
    labels = label_methods(runs)
    folders = {(name, seed): output / "predictions" / f"{name}_seed{seed}" for name, seed in labels}
    for folder in folders.values():
        remove(folder)
        folder.mkdir(parents=True)
    ending = read_labels(dataset.folder / "dataset.json").file_ending
    for run in runs:
        for file in find_segmentations(run.predictions, ending).values():
            link_to(file, folders[run.trainer, run.seed] / file.name)
    first, *others = folders.values()
    raw = nnunet_folder(RAW)
    images = raw / dataset.folder.name / "imagesTr" if raw else None
    return evaluate(
        dataset.folder / REFERENCES,
        first,
        dataset_json=dataset.folder / "dataset.json",
        images=images if images and images.is_dir() else None,
        compare=others,
        names=list(labels.values()),
        cases=list(dataset.validation_cases),
        patients=groups,
        settings=Settings(groups=("overlap", "lesions"), lesion_classes="all"),
    )


def reorder_methods(evaluation: Evaluation, order: Sequence[str]) -> Evaluation:
    """Return the evaluation with its methods in this order: the others are compared with the first."""
    place = {name: number for number, name in enumerate(order)}
    cases = evaluation.cases.sort_values(
        ["case", "method"], key=lambda column: column.map(place) if column.name == "method" else column
    )
    methods = {name: evaluation.about["methods"][name] for name in order}
    return replace(
        evaluation,
        cases=cases.reset_index(drop=True),
        comparison=compare_methods(cases, evaluation.settings),
        about=evaluation.about | {"methods": methods},
    )
