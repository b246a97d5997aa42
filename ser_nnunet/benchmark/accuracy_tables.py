"""What `benchmark accuracy` writes when all runs are finished: evaluation, comparison, cost, learning curves."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pandas as pd

from ser_nnunet.benchmark.compare import compare, values_of
from ser_nnunet.benchmark.costs import cost_table, readable_costs
from ser_nnunet.benchmark.curves import WINDOW, draw_curves, read_curves
from ser_nnunet.benchmark.dataset_view import Source
from ser_nnunet.benchmark.provenance import provenance
from ser_nnunet.benchmark.run_provenance import sam_of, software_notes
from ser_nnunet.benchmark.runs import Run
from ser_nnunet.benchmark.tables import spans, write_results
from ser_nnunet.evaluation.evaluator import evaluate
from ser_nnunet.evaluation.result import Evaluation
from ser_nnunet.evaluation.settings import Settings

RAW = "nnUNet_raw"
METRICS = {"Dice": "Dice", "lesion_F1": "lesion F1"}
ALL = "all classes"
NOTES = [
    "Every trainer: the same cases, split, number of iterations and seeds; predictions of the fold's validation cases"
    " by nnU-Net's own validation (full sliding window, mirroring as the trainer allows), last checkpoint.",
    "Dice and lesion F1 by ser-nnunet evaluate; mean over classes of the mean over seeds and cases where defined.",
    "Minus the first, of the first: over the compared cases alone, in which the metric is defined for both trainers"
    " (seed by seed, class by class); so they need not be those of the means.",
    "In brackets: 95 % percentile bootstrap intervals over cases and seeds, both drawn with replacement, the same draw"
    " for all trainers. With one seed they say nothing about what another training would have given.",
    "Training time: the epochs' wall time, data loading and nnU-Net's validation included, one run after another.",
    "Training and prediction, of the first: ratio of the mean times; in brackets, with two seeds or more, the lowest"
    " and highest seed's own ratio. An epoch, of the first: ratio of the medians; in brackets the quartiles of the"
    " ratios of equal epochs. Runs follow one another, so what else the machine did meanwhile is in them.",
    f"Iterations to reach the first trainer's last pseudo Dice: both as mean of {WINDOW} epochs of the learning curve;"
    " a dash: not reached in every seed, or the first trainer has learnt nothing yet (pseudo Dice about 0).",
]


def write_outcome(runs: list[Run], source: Source, args: argparse.Namespace) -> list[Path]:
    """Evaluate all runs' predictions and write accuracy.csv, accuracy.md, costs.csv and the learning curves."""
    methods = {trainer: [method_name(trainer, seed, args.seeds) for seed in args.seeds] for trainer in args.tr}
    evaluation = evaluate_runs(runs, source, args)
    evaluation.write(args.o / "evaluation")
    accuracies = compare_trainers(evaluation, methods)
    curves = read_curves(runs)
    costs = cost_table(runs, curves)
    curves.to_csv(args.o / "learning_curves.csv", index=False)
    draw_curves(curves, args.o / "learning_curves.png")
    costs.to_csv(args.o / "costs.csv", index=False)
    about = provenance(
        args.device,
        dataset=source.folder.name,
        plans=source.used_plans_name,
        training_cases=args.train_cases or len(source.splits[args.f]["train"]),
        validation_cases=len(source.validation_cases),
        seeds=len(args.seeds),
        iterations=f"{args.epochs} x {args.iterations}",
        SAM_checkpoint=sam_of(runs),
    )
    shown = [("Accuracy", readable(accuracies)), ("Cost", readable_costs(costs))]
    return write_results(args.o, "accuracy", accuracies, shown, software_notes(runs) + NOTES, about)


def method_name(trainer: str, seed: int, seeds: list[int]) -> str:
    """Return a run's name in the evaluation."""
    return trainer if len(seeds) == 1 else f"{trainer} seed {seed}"


def evaluate_runs(runs: list[Run], source: Source, args: argparse.Namespace) -> Evaluation:
    """Evaluate all runs' predictions of the validation cases at once."""
    raw = os.environ.get(RAW)
    images = Path(raw) / source.folder.name / "imagesTr" if raw else None
    first, *others = [run.predictions for run in runs]
    return evaluate(
        source.folder / "gt_segmentations",
        first,
        dataset_json=source.folder / "dataset.json",
        images=images if images and images.is_dir() else None,
        compare=others,
        names=[method_name(run.trainer, run.seed, args.seeds) for run in runs],
        cases=source.validation_cases,
        settings=Settings(groups=("overlap", "lesions")),
    )


def compare_trainers(evaluation: Evaluation, methods: dict[str, list[str]]) -> pd.DataFrame:
    """Return one row per metric, class (and all classes together) and trainer; relative to the first trainer."""
    tables = []
    for metric in METRICS:
        values = values_of(evaluation.cases, methods, metric)
        chosen = {ALL: values}
        if len(evaluation.classes) > 1:
            chosen |= {
                name: {trainer: array[..., [number]] for trainer, array in values.items()}
                for number, name in enumerate(evaluation.classes)
            }
        tables += [compare(each).assign(metric=metric, **{"class": name}) for name, each in chosen.items()]
    table = pd.concat(tables, ignore_index=True)
    return table[["metric", "class", *table.columns.drop(["metric", "class"])]]


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the comparison for people."""

    def intervals(name: str, digits: int) -> list[str]:
        return spans(table, [name, f"{name}_low", f"{name}_high"], digits)

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
