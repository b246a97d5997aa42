"""`ser-nnunet benchmark accuracy`: train trainers equally long, predict, evaluate, compare."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ser_nnunet.benchmark.benchmark_settings import BASELINES, DEFAULT_PLANS, AccuracySettings
from ser_nnunet.commands.number_types import batch_size, fold, seed, steps

INTERRUPTED = 130  # exit status, as a shell gives it after Ctrl-C


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the parser."""
    number: dict[str, Any] = {"type": steps, "metavar": "N"}
    default = AccuracySettings
    add = parser.add_argument
    add("-d", required=True, metavar="ID", help="number or name of a planned and preprocessed data set")
    add(
        "-c",
        default=default.configuration,
        metavar="CONFIG",
        help=f"configuration of the plan (default: {default.configuration})",
    )
    folds = "folds to train; their validation cases are pooled (default: 0)"
    add("-f", type=fold, nargs="+", default=default.folds, metavar="FOLD", help=folds)
    add("-p", default=DEFAULT_PLANS, metavar="PLANS", help=f"name of the plans (default: {DEFAULT_PLANS})")
    trainers = "trainers to compare with the better baseline, own ones too"
    add("-tr", required=True, nargs="+", metavar="TRAINER", help=trainers)
    baselines = f"trainers of which the better one by Dice is the reference (default: {' '.join(BASELINES)})"
    add("--baselines", nargs="+", default=BASELINES, metavar="TRAINER", help=baselines)
    add("--epochs", required=True, help="number of epochs of every trainer, whatever its own schedule says", **number)
    iterations = f"number of training steps per epoch (default: {default.iterations})"
    add("--iterations", default=default.iterations, help=iterations, **number)
    validation = "number of steps of nnU-Net's validation per epoch (default: a fifth of --iterations)"
    add("--val-iterations", help=validation, **number)
    own = "batch size, set in a copy of the plan (default: that of the plan)"
    add("--batch-size", type=batch_size, metavar="N", help=own)
    seeds = "seeds, with each of which every trainer is trained once per fold (default: 0)"
    add("--seeds", type=seed, nargs="+", default=default.seeds, metavar="N", help=seeds)
    few = "number of training cases of each fold to use, drawn anew for every seed (default: all)"
    add("--train-cases", help=few, **number)
    who = "file that names the patient of every case, as for ser-nnunet evaluate (default: conversion.json)"
    add("--groups", type=Path, metavar="FILE", help=who)
    saving = f"number of epochs between the checkpoints from which a training resumes (default: {default.save_every})"
    add("--save-every", default=default.save_every, help=saving, **number)
    precision = "compute in bfloat16 on the CPU where autocast allows it, as nnU-Net does in float16 on a GPU"
    add("--bfloat16", action="store_true", help=precision)


def run(args: argparse.Namespace) -> int:
    """Complete the runs, evaluate, write the tables, show them; 130 if the user interrupts it."""
    settings = AccuracySettings(
        args.d,
        tuple(args.tr),
        args.epochs,
        output=args.o,
        device=args.device,
        configuration=args.c,
        baselines=tuple(args.baselines),
        folds=tuple(args.f),
        plans_name=args.p,
        iterations=args.iterations,
        val_iterations=args.val_iterations,
        batch_size=args.batch_size,
        seeds=tuple(args.seeds),
        train_cases=args.train_cases,
        groups=args.groups,
        save_every=args.save_every,
        bfloat16=args.bfloat16,
    )
    from ser_nnunet.benchmark.accuracy import run_accuracy

    try:
        written = run_accuracy(settings)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command resumes from the last checkpoints")
        return INTERRUPTED
    print(written[1].read_text(encoding="utf-8"))
    print(f"written to {', '.join(map(str, written))}")
    print(f"as one page, with pictures: ser-nnunet report {args.o / 'evaluation'}")
    return 0
