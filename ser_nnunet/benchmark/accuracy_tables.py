"""The tables of `benchmark accuracy`: evaluation of all runs, comparison with the first trainer, cost, curves."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ser_nnunet.benchmark.benchmark_settings import AccuracySettings
from ser_nnunet.benchmark.compare import collect_values, compare_with_first
from ser_nnunet.benchmark.costs import format_costs, tabulate_costs
from ser_nnunet.benchmark.curves import LEAST_DICE, WINDOW, draw_curves, read_curves
from ser_nnunet.benchmark.dataset_view import REFERENCES, PlannedDataset
from ser_nnunet.benchmark.provenance import collect_provenance
from ser_nnunet.benchmark.run_provenance import describe_sam, note_versions
from ser_nnunet.benchmark.runs import Run
from ser_nnunet.benchmark.tables import format_intervals, write_results
from ser_nnunet.evaluation.evaluator import evaluate
from ser_nnunet.evaluation.result import Evaluation
from ser_nnunet.evaluation.settings import Settings
from ser_nnunet.nnunet.paths import RAW, nnunet_folder
from ser_nnunet.utils.files import write_text

METRICS = {"Dice": "Dice", "lesion_F1": "lesion F1"}
ALL = "all classes"
NOTES = [
    "Every trainer: the same cases, split, number of iterations and seeds; predictions of the fold's validation cases"
    " by nnU-Net's own validation (full sliding window, mirroring as the trainer allows), last checkpoint.",
    "Dice and lesion F1 by ser-nnunet evaluate; mean over classes of the mean over seeds and cases where defined.",
    "Minus the first, of the first: over the compared cases alone, in which the metric is defined for both trainers"
    " (seed by seed, class by class); the means may be over more cases.",
    "In brackets: 95 % percentile bootstrap intervals over cases and seeds, both drawn with replacement, the same draw"
    " for all trainers; several scans of one patient are drawn as independent cases. With one seed the intervals say"
    " nothing about what another training would have given.",
    "Training time: the epochs' wall time, data loading and nnU-Net's validation included, one run after another.",
    "Training and prediction, of the first: ratio of the mean times; in brackets, with two seeds or more, the lowest"
    " and highest seed's own ratio. An epoch, of the first: ratio of the medians; in brackets the quartiles of the"
    " ratios of equal epochs. Runs follow one another, so these ratios also contain changes of the machine's load"
    " between them.",
    f"Iterations to reach the first trainer's last pseudo Dice: both as mean of {WINDOW} epochs of the learning curve;"
    f" a dash: not reached in every seed, or that Dice lies below {LEAST_DICE}.",
]


def write_accuracy(runs: list[Run], dataset: PlannedDataset, settings: AccuracySettings) -> list[Path]:
    """Evaluate all runs' predictions and write accuracy.csv, accuracy.md (both returned), costs.csv and the curves."""
    several = len(settings.seeds) > 1
    names = {run: f"{run.trainer} seed {run.seed}" if several else run.trainer for run in runs}
    methods = {trainer: [names[run] for run in runs if run.trainer == trainer] for trainer in settings.trainers}
    evaluation = evaluate_runs(runs, list(names.values()), dataset)
    evaluation.write(settings.output / "evaluation")
    accuracies = compare_trainers(evaluation, methods)
    curves = read_curves(runs)
    costs = tabulate_costs(runs, curves)
    write_text(settings.output / "learning_curves.csv", curves.to_csv(index=False))
    draw_curves(curves, settings.output / "learning_curves.png")
    write_text(settings.output / "costs.csv", costs.to_csv(index=False))
    about = collect_provenance(
        settings.device,
        dataset=dataset.folder.name,
        plans=dataset.used_plans_name,
        training_cases=settings.train_cases or len(dataset.training_cases),
        validation_cases=len(dataset.validation_cases),
        seeds=len(settings.seeds),
        iterations=f"{settings.epochs} x {settings.iterations}",
        precision="bfloat16 (autocast)" if settings.bfloat16 else "as the trainers set it",
        SAM_checkpoint=describe_sam(runs),
    )
    shown = [("Accuracy", format_accuracy(accuracies)), ("Cost", format_costs(costs))]
    return write_results(settings.output, "accuracy", accuracies, shown, note_versions(runs) + NOTES, about)


def evaluate_runs(runs: list[Run], names: list[str], dataset: PlannedDataset) -> Evaluation:
    """Evaluate all runs' predictions of the validation cases at once, each under its name."""
    raw = nnunet_folder(RAW)
    images = raw / dataset.folder.name / "imagesTr" if raw else None
    first, *others = [run.predictions for run in runs]
    return evaluate(
        dataset.folder / REFERENCES,
        first,
        dataset_json=dataset.folder / "dataset.json",
        images=images if images and images.is_dir() else None,
        compare=others,
        names=names,
        cases=dataset.validation_cases,
        settings=Settings(groups=("overlap", "lesions")),
    )


def compare_trainers(evaluation: Evaluation, methods: dict[str, list[str]]) -> pd.DataFrame:
    """Return one row per metric, class (and all classes together) and trainer; relative to the first trainer."""
    tables = []
    for metric in METRICS:
        values = collect_values(evaluation.cases, methods, metric)
        chosen = {ALL: values}
        if len(evaluation.classes) > 1:
            chosen |= {
                name: {trainer: array[..., [number]] for trainer, array in values.items()}
                for number, name in enumerate(evaluation.classes)
            }
        tables += [compare_with_first(each).assign(metric=metric, **{"class": name}) for name, each in chosen.items()]
    table = pd.concat(tables, ignore_index=True)
    return table[["metric", "class", *table.columns.drop(["metric", "class"])]]


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
            "compared cases": [str(count) for count in table["n"]],
            "minus the first": intervals("difference", 2),
            "of the first": intervals("ratio", 3),
        }
    )
