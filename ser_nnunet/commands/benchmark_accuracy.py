"""`ser-nnunet benchmark accuracy`: train the named trainers equally long, predict, evaluate, compare."""

from __future__ import annotations

import argparse
from typing import Any

from ser_nnunet.benchmark.benchmark_settings import DEFAULT_PLANS, AccuracySettings

INTERRUPTED = 130  # exit status, as a shell gives it after Ctrl-C


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the parser."""
    number: dict[str, Any] = {"type": int, "metavar": "N"}
    default = AccuracySettings
    add = parser.add_argument
    add("-d", required=True, metavar="ID", help="a planned and preprocessed data set: number or name")
    add("-c", default=default.configuration, metavar="CONFIG", help=f"configuration (default: {default.configuration})")
    add("-f", default=default.fold, help=f"fold (default: {default.fold})", **number)
    add("-p", default=DEFAULT_PLANS, metavar="PLANS", help=f"the plans' name (default: {DEFAULT_PLANS})")
    trainers = "trainers, nnU-Net's and your own too; the others are compared with the first"
    add("-tr", required=True, nargs="+", metavar="TRAINER", help=trainers)
    add("--epochs", required=True, help="for every trainer, whatever its own schedule says", **number)
    iterations = f"training steps per epoch (default: {default.iterations})"
    add("--iterations", default=default.iterations, help=iterations, **number)
    validation = "steps of nnU-Net's validation per epoch (default: a fifth of --iterations)"
    add("--val-iterations", help=validation, **number)
    add("--batch-size", help="in a copy of the plan (default: the plan's)", **number)
    seeds = "each trainer once per seed (default: 0)"
    add("--seeds", type=int, nargs="+", default=default.seeds, metavar="N", help=seeds)
    few = "use so many of the fold's training cases, drawn anew for every seed (default: all)"
    add("--train-cases", help=few, **number)
    saving = f"epochs between checkpoints, from which an interrupted training resumes (default: {default.save_every})"
    add("--save-every", default=default.save_every, help=saving, **number)
    precision = "on the CPU: compute in bfloat16 where autocast allows it, as nnU-Net does in float16 on a GPU"
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
        fold=args.f,
        plans_name=args.p,
        iterations=args.iterations,
        val_iterations=args.val_iterations,
        batch_size=args.batch_size,
        seeds=tuple(args.seeds),
        train_cases=args.train_cases,
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
