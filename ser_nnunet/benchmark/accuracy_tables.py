"""The tables of `benchmark accuracy`: evaluation of all runs, comparison with the better baseline, cost, curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ser_nnunet.benchmark.baselines import describe_choice, mark_trainers, note_small_maps, rank_trainers
from ser_nnunet.benchmark.benchmark_settings import AccuracySettings
from ser_nnunet.benchmark.compare import collect_values, compare_with_first, mean_over_classes
from ser_nnunet.benchmark.costs import format_costs, tabulate_costs
from ser_nnunet.benchmark.curves import LEAST_DICE, WINDOW, draw_curves, read_curves
from ser_nnunet.benchmark.dataset_view import PlannedDataset
from ser_nnunet.benchmark.pooled_evaluation import evaluate_runs, label_methods, reorder_methods
from ser_nnunet.benchmark.provenance import collect_provenance
from ser_nnunet.benchmark.run_provenance import describe_sam, note_versions
from ser_nnunet.benchmark.runs import Run
from ser_nnunet.benchmark.tables import format_intervals, write_results
from ser_nnunet.benchmark.teacher_checks import describe_teachers
from ser_nnunet.evaluation.patients import describe_patients, short_source
from ser_nnunet.evaluation.result import Evaluation
from ser_nnunet.utils.files import write_text

METRICS = {"Dice": "Dice", "lesion_F1": "lesion F1"}
ALL = "all classes"
NOTES = [
    "Every trainer: the same cases, split, number of iterations and seeds; predictions of each fold's validation cases"
    " by nnU-Net's own validation (full sliding window, mirroring as the trainer allows), last checkpoint. The"
    " validation cases of all folds are pooled.",
    "Dice and lesion F1 by ser-nnunet evaluate; mean over classes of the mean over seeds and cases where defined.",
    "Minus the baseline, of the baseline: over the compared cases alone, in which the metric is defined for both"
    " trainers (seed by seed, class by class); the means may be over more cases.",
    "In brackets: 95 % percentile bootstrap intervals over patients (with all their scans) and seeds, both drawn with"
    " replacement, the same draw for all trainers. With one seed the intervals say nothing about what another training"
    " would have given.",
    "Training time: the epochs' wall time, data loading and nnU-Net's validation included, one run after another; mean"
    " over folds and seeds.",
    "Training and prediction, of the baseline: ratio of the mean times; in brackets, with several trainings per"
    " trainer, the lowest and highest ratio of two trainings with the same fold and seed. An epoch, of the baseline:"
    " ratio of the medians; in brackets the quartiles of the ratios of equal epochs. Runs follow one another, so these"
    " ratios also contain changes of the machine's load between them.",
    f"Iterations to reach the baseline's last pseudo Dice: both as mean of {WINDOW} epochs of the learning curve;"
    f" not reached: not in every fold and seed, or that Dice lies below {LEAST_DICE}.",
]


def write_accuracy(runs: list[Run], dataset: PlannedDataset, settings: AccuracySettings) -> list[Path]:
    """Evaluate all runs' predictions and write the tables and curves; return the paths of accuracy.csv and .md."""
    evaluation = evaluate_runs(runs, dataset, settings.output, settings.groups)
    methods: dict[str, list[str]] = {}
    for (trainer, _), name in label_methods(runs).items():
        methods.setdefault(trainer, []).append(name)
    dice = {name: mean_over_classes(each) for name, each in collect_values(evaluation.cases, methods, "Dice").items()}
    roles = rank_trainers(dice, settings.baselines)
    methods = {trainer: methods[trainer] for trainer in roles}  # from here on the better baseline is the first
    runs = [run for trainer in roles for run in runs if run.trainer == trainer]
    evaluation = reorder_methods(evaluation, [name for names in methods.values() for name in names])
    evaluation.write(settings.output / "evaluation")
    accuracies = compare_trainers(evaluation, methods)
    folds = compare_by_fold(evaluation, methods, dataset.validation_cases)
    curves = read_curves(runs)
    costs = tabulate_costs(runs, curves)
    draw_curves(curves, settings.output / "learning_curves.png")
    tables = {"learning_curves": curves, "costs": costs, "folds": folds}
    for name, table in tables.items():
        write_text(settings.output / f"{name}.csv", add_roles(table, roles).to_csv(index=False))
    patients = describe_patients(evaluation.about["patients"])
    about = describe_benchmark(runs, dataset, settings)
    shown = [("Accuracy", format_accuracy(accuracies)), ("Cost", format_costs(costs))]
    shown += [("Dice by fold", format_folds(folds))] if len(settings.folds) > 1 else []
    marked = [(heading, table.assign(trainer=mark_trainers(table["trainer"], roles))) for heading, table in shown]
    notes = [describe_choice(roles), *note_small_maps(dataset.planned), f"Patients: {patients}."]
    notes += [*note_versions(runs), *NOTES]
    source = evaluation.about["patients"]["source"]
    whole = add_roles(accuracies, roles).assign(
        folds=" ".join(map(str, settings.folds)), patients_from=short_source(source) if source else "each scan"
    )
    return write_results(settings.output, "accuracy", whole, marked, notes, about)


def describe_benchmark(runs: list[Run], dataset: PlannedDataset, settings: AccuracySettings) -> dict[str, str]:
    """Return versions, machine, data and schedule as text."""
    splits = dataset.splits
    return collect_provenance(
        settings.device,
        dataset=dataset.folder.name,
        plans=dataset.used_plans_name,
        folds=" ".join(map(str, settings.folds)),
        training_cases=settings.train_cases or ", ".join(str(len(splits[fold]["train"])) for fold in settings.folds),
        validation_cases=len(dataset.validation_cases),
        seeds=len(settings.seeds),
        iterations=f"{settings.epochs} x {settings.iterations}",
        precision="bfloat16 (autocast)" if settings.bfloat16 else "as the trainers set it",
        SAM_checkpoint=describe_sam(runs),
        teacher=describe_teachers(runs),
    )


def compare_trainers(evaluation: Evaluation, methods: Mapping[str, list[str]]) -> pd.DataFrame:
    """Return one row per metric, class (and all classes together) and trainer; relative to the first trainer."""
    patients = evaluation.cases.drop_duplicates("case")["patient"].tolist()
    tables = []
    for metric in METRICS:
        values = collect_values(evaluation.cases, methods, metric)
        chosen = {ALL: values}
        if len(evaluation.classes) > 1:
            chosen |= {
                name: {trainer: array[..., [number]] for trainer, array in values.items()}
                for number, name in enumerate(evaluation.classes)
            }
        tables += [
            compare_with_first(each, patients).assign(metric=metric, **{"class": name}) for name, each in chosen.items()
        ]
    table = pd.concat(tables, ignore_index=True)
    return table[["metric", "class", *table.columns.drop(["metric", "class"])]]


def compare_by_fold(
    evaluation: Evaluation, methods: Mapping[str, list[str]], fold_of: Mapping[str, int]
) -> pd.DataFrame:
    """Return one row per fold and trainer: Dice over all classes, as in `compare_trainers`.

    Args:
        evaluation: of all folds.
        methods: trainer -> the evaluation's methods, one per seed.
        fold_of: case -> the fold whose validation case it is.
    """
    cases = evaluation.cases.drop_duplicates("case")
    folds, patients = cases["case"].map(fold_of).to_numpy(), cases["patient"].to_numpy()
    values = collect_values(evaluation.cases, methods, "Dice")
    tables = [
        compare_with_first({name: each[:, folds == fold] for name, each in values.items()}, patients[folds == fold])
        for fold in np.unique(folds)
    ]
    table = pd.concat(tables, keys=np.unique(folds), names=["fold"]).reset_index("fold")
    return table.reset_index(drop=True)


def add_roles(table: pd.DataFrame, roles: Mapping[str, str]) -> pd.DataFrame:
    """Return the table with a column `role` behind the trainers: better baseline, other baseline, or nothing."""
    table = table.copy()
    table.insert(table.columns.get_loc("trainer") + 1, "role", table["trainer"].map(roles))
    return table


def format_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """Return the comparison as text."""

    def intervals(name: str, digits: int) -> list[str]:
        return format_intervals(table, [name, f"{name}_low", f"{name}_high"], digits)

    return pd.DataFrame(
        {
            "trainer": table["trainer"],
            "metric": table["metric"].map(METRICS),
            "class": table["class"],
            "mean": intervals("mean", 3),
            "compared cases (patients)": [f"{n} ({few})" for n, few in table[["n", "patients"]].to_numpy()],
            "minus the baseline": intervals("difference", 2),
            "of the baseline": intervals("ratio", 3),
        }
    )


def format_folds(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean Dice of every trainer and fold as text, in brackets the difference to the first trainer."""
    first = table["trainer"].iloc[0]
    cells = [
        f"{row.mean:.3f}" if row.trainer == first else f"{row.mean:.3f} ({row.difference:+.3f})"
        for row in table.itertuples()
    ]
    columns = [f"fold {fold} (minus the baseline)" for fold in table["fold"]]
    wide = table.assign(cell=cells, column=columns).pivot(index="trainer", columns="column", values="cell")
    return wide.loc[table["trainer"].unique(), list(dict.fromkeys(columns))].reset_index()
