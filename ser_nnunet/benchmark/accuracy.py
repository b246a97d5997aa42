"""`benchmark accuracy`: train all trainers equally long, predict, evaluate, compare."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ser_nnunet.benchmark.accuracy_tables import write_accuracy
from ser_nnunet.benchmark.baselines import note_small_maps
from ser_nnunet.benchmark.benchmark_settings import AccuracySettings, refuse_problems
from ser_nnunet.benchmark.dataset_view import REFERENCES, PlannedDataset
from ser_nnunet.benchmark.device import count_training_threads
from ser_nnunet.benchmark.run_provenance import UNGUIDED, list_versions, record_sam, refuse_other_sam
from ser_nnunet.benchmark.runs import Run
from ser_nnunet.benchmark.teacher_checks import (
    find_teacher_problems,
    list_taught,
    record_teachers,
    refuse_other_teachers,
)
from ser_nnunet.benchmark.unlabelled_view import make_unlabelled_view
from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.labels import read_labels
from ser_nnunet.evaluation.patients import find_patients
from ser_nnunet.nnunet.paths import preprocessed_dataset
from ser_nnunet.nnunet.trainers import find_trainer
from ser_nnunet.training.trainer_checks import find_trainer_problems, is_guided
from ser_nnunet.utils.files import read_json, write_json
from ser_nnunet.utils.variables import SAM_CHECKPOINT


def run_accuracy(settings: AccuracySettings) -> list[Path]:
    """Train and predict what isn't finished yet, evaluate all, write the tables; return accuracy.csv and accuracy.md.

    After an interruption (Ctrl-C) the same call resumes from the last checkpoints.

    Raises:
        UserError: something would stop a run (all problems at once, before the first), the output folder holds
            another benchmark, or runs failed.
    """
    dataset = check_data_and_trainers(settings)
    for note in note_small_maps(dataset.planned):
        print(note.replace("*", ""), file=sys.stderr)
    spec = make_spec(settings, dataset)
    refuse_other_benchmark(settings.output / "benchmark.json", spec)
    guides = record_guides(settings)
    runs = [
        Run(trainer, fold, seed, settings.output / "runs" / f"{trainer}_fold{fold}_seed{seed}")
        for seed in settings.seeds
        for fold in settings.folds
        for trainer in settings.all_trainers
    ]
    spec |= {"save_every": settings.save_every, "software": list_versions()}
    failed = complete_runs(runs, settings.output / "data", dataset, {name: spec | guides[name] for name in guides})
    if failed:
        listed = "\n".join(f"  {run.title}: {run.last_log_line} ({run.log})" for run in failed)
        raise UserError(
            f"{len(failed)} of {len(runs)} runs failed (fix the cause and run the same command again; finished runs "
            f"are kept):\n{listed}"
        )
    return write_accuracy(runs, dataset, settings)


def check_data_and_trainers(settings: AccuracySettings) -> PlannedDataset:
    """Return the data set after looking for everything that would stop a run hours later.

    Raises:
        UserError: with all problems.
    """
    dataset = PlannedDataset(
        preprocessed_dataset(settings.dataset),
        settings.plans_name,
        settings.configuration,
        settings.folds,
        settings.batch_size,
        settings.train_cases,
    )
    found = dataset.find_problems()
    if not found:  # trainers can only be checked against a plan that is there
        checkpoint, names = os.environ.get(SAM_CHECKPOINT), settings.all_trainers
        found = find_trainer_problems(names, settings.epochs, dataset.plans, settings.configuration, checkpoint)
        validation = {fold: dataset.splits[fold]["val"] for fold in dataset.folds}
        found += find_teacher_problems(names, dataset.planned, validation)
        labels = read_labels(dataset.folder / "dataset.json")
        if settings.train_cases is None and labels.ignore is None:
            semi = (
                [name for name in names if getattr(find_trainer(name), "uses_unlabelled", False)] if not found else []
            )
            found += [
                f"{name} learns from unlabelled cases: give --train-cases, or a data set with them" for name in semi
            ]
        cases = list(dataset.validation_cases)
        patients = find_patients(cases, dataset.folder / REFERENCES, labels, settings.groups)
        found += [f"--groups: {problem}" for problem in patients.problems]
    refuse_problems(settings.find_problems() + found)
    return dataset


def make_spec(settings: AccuracySettings, dataset: PlannedDataset) -> dict[str, Any]:
    """Return what all runs in one output folder must share: data, schedule and machine, for their processes."""
    return {
        "dataset": dataset.folder.name,
        "configuration": settings.configuration,
        "plans": dataset.used_plans_name,
        "plan_and_split": dataset.plan_and_split_hash,
        "epochs": settings.epochs,
        "iterations": settings.iterations,
        "val_iterations": settings.validation_steps,
        "train_cases": settings.train_cases,
        "device": settings.device,
        "threads": count_training_threads(settings.device),
        "bfloat16": settings.bfloat16,
    }


def refuse_other_benchmark(file: Path, spec: dict[str, Any]) -> None:
    """Write what the runs share, or refuse to mix them with others: they would not be comparable."""
    if not file.is_file():
        write_json(file, spec)
        return
    before = read_json(file)
    differing = [key for key in spec if before.get(key) != spec[key]]
    if differing:
        listed = "; ".join(f"{key} {before.get(key)} there, {spec[key]} now" for key in differing)
        raise UserError(f"{file.parent} holds another benchmark ({listed}): choose another -o, or the same settings")


def record_guides(settings: AccuracySettings) -> dict[str, dict[str, Any]]:
    """Return trainer -> what its runs record about SAM and teachers: nothing but None for those that train without.

    Raises:
        UserError: runs in the output folder were guided by another SAM, or had another teacher.
    """
    begun = [Run("", 0, 0, folder) for folder in sorted((settings.output / "runs").glob("*"))]
    guided = [name for name in settings.all_trainers if is_guided(find_trainer(name), settings.epochs)]
    records: dict[str, dict[str, Any]] = dict.fromkeys(settings.all_trainers, UNGUIDED)
    if taught := list_taught(settings.all_trainers):
        teachers = record_teachers(settings.folds)
        refuse_other_teachers(begun, teachers)
        records |= dict.fromkeys(taught, UNGUIDED | {"teachers": teachers})
    if guided:
        sam = record_sam(os.environ[SAM_CHECKPOINT])
        refuse_other_sam(begun, sam)
        records |= {name: records[name] | sam for name in guided}
    return records


def find_view(dataset: PlannedDataset, views: Path, run: Run) -> Path:
    """Return the folder for nnUNet_preprocessed that a run trains on.

    With fewer training cases, a trainer that learns from unlabelled ones gets the fold's others without their labels.
    """
    if dataset.train_cases is not None and getattr(find_trainer(run.trainer), "uses_unlabelled", False):
        return make_unlabelled_view(dataset, views, run.seed, run.fold)
    return dataset.make_view(views, run.seed)


def complete_runs(runs: list[Run], views: Path, dataset: PlannedDataset, specs: dict[str, dict[str, Any]]) -> list[Run]:
    """Train and predict what isn't finished, with a progress bar; return the runs that failed.

    Args:
        runs: in their order.
        views: folder of the data set's views.
        dataset: what they train on.
        specs: trainer -> what its training process needs (see `training_process.py`).
    """
    epochs = next(iter(specs.values()))["epochs"]
    failed = []
    with tqdm(total=epochs * len(runs), unit="epoch") as bar:
        for number, run in enumerate(runs):
            bar.set_description(f"{run.title} ({number + 1}/{len(runs)})")

            def show(done: int, before: int = number * epochs) -> None:
                bar.set_postfix_str("predicting" if done == epochs else "", refresh=False)
                bar.update(before + done - bar.n)

            if run.finished is None:
                view = find_view(dataset, views, run)
                failed += [] if run.train_and_predict(specs[run.trainer], view, show) else [run]
            show(epochs)
    return failed
