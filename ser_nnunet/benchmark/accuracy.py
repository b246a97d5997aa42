"""`ser-nnunet benchmark accuracy`: train the named trainers equally long, predict, evaluate, compare."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_nnunet.benchmark.plan_source import PLANS
from ser_nnunet.benchmark.runs import Run
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import preprocessed_dataset
from ser_nnunet.utils.variables import SAM_CHECKPOINT

if TYPE_CHECKING:
    from ser_nnunet.benchmark.dataset_view import Source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the parser."""
    number: dict[str, Any] = {"type": int, "metavar": "N"}
    add = parser.add_argument
    add("-d", required=True, metavar="ID", help="a planned and preprocessed data set: number or name")
    add("-c", default="2d", metavar="CONFIG", help="configuration (default: 2d)")
    add("-f", default=0, help="fold (default: 0)", **number)
    add("-p", default=PLANS, metavar="PLANS", help=f"the plans' name (default: {PLANS})")
    trainers = "trainers, stock ones and your own too; the others are compared with the first"
    add("-tr", required=True, nargs="+", metavar="TRAINER", help=trainers)
    add("--epochs", required=True, help="for every trainer, whatever its own schedule says", **number)
    add("--iterations", default=250, help="training steps per epoch (default: 250)", **number)
    validation = "steps of nnU-Net's validation per epoch (default: a fifth of --iterations)"
    add("--val-iterations", help=validation, **number)
    add("--batch-size", help="in a copy of the plan (default: the plan's)", **number)
    add("--seeds", type=int, nargs="+", default=[0], metavar="N", help="each trainer once per seed (default: 0)")
    few = "use so many of the fold's training cases, drawn anew for every seed (default: all)"
    add("--train-cases", help=few, **number)
    saving = "epochs between checkpoints; an interrupted training goes on from there (default: 5)"
    add("--save-every", default=5, help=saving, **number)


def run(args: argparse.Namespace) -> int:
    """Carry out what is missing of the runs, then evaluate and write the tables."""
    from ser_nnunet.benchmark.accuracy_tables import write_outcome

    source = _check(args)
    settings = _settings(args, source)
    _same_benchmark(args.o / "benchmark.json", settings)
    sam = _sam(args)
    runs = [Run(trainer, seed, args.o / "runs" / f"{trainer}_seed{seed}") for seed in args.seeds for trainer in args.tr]
    try:
        failed = carry_out(runs, args, source, sam)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on from the last checkpoints")
        return 130
    if failed:
        told = "\n".join(f"  {each.trainer}, seed {each.seed}: {each.last_words()} ({each.log})" for each in failed)
        raise UserError(
            f"{len(failed)} of {len(runs)} runs failed (mend it and run the same command again; finished runs stay):"
            f"\n{told}"
        )
    written = write_outcome(runs, source, args)
    print(written[1].read_text(encoding="utf-8"))
    print(f"written to {', '.join(map(str, written))}")
    print(f"as one page, with pictures: ser-nnunet report {args.o / 'evaluation'}")
    return 0


def carry_out(runs: list[Run], args: argparse.Namespace, source: Source, sam: dict[str, dict[str, Any]]) -> list[Run]:
    """Train and predict what isn't finished, showing where it is; return the runs that failed.

    `sam`: trainer -> what its runs record about SAM.
    """
    from tqdm import tqdm

    from ser_nnunet.benchmark.run_provenance import software

    spec = {
        "dataset": source.folder.name,
        "configuration": args.c,
        "fold": args.f,
        "plans": source.used_plans_name,
        "epochs": args.epochs,
        "iterations": args.iterations,
        "val_iterations": _val_iterations(args),
        "save_every": args.save_every,
        "device": args.device,
        "threads": _threads(args),
        "software": software(),
    }
    failed = []
    with tqdm(total=args.epochs * len(runs), unit="epoch") as bar:
        for number, each in enumerate(runs):
            bar.set_description(f"{each.trainer} seed {each.seed} ({number + 1}/{len(runs)})")

            def show(epochs: int, before: int = number * args.epochs) -> None:
                bar.set_postfix_str("predicting" if epochs == args.epochs else "", refresh=False)
                bar.update(before + epochs - bar.n)

            if each.finished is None:
                view = source.view(args.o / "data", each.seed)
                failed += [] if each.carry_out(spec | sam[each.trainer], view, show) else [each]
            show(args.epochs)
    return failed


def _val_iterations(args: argparse.Namespace) -> int:
    return args.val_iterations or max(1, args.iterations // 5)


def _threads(args: argparse.Namespace) -> int:
    """Return the threads of a training: one beside a GPU, as in nnU-Net; on the CPU all cores or OMP_NUM_THREADS."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return 1 if args.device != "cpu" else int(given) if given.isdigit() else os.cpu_count() or 1


def _check(args: argparse.Namespace) -> Source:
    """Return the source after looking for everything that would stop a run hours later.

    Raises:
        UserError: with all problems.
    """
    from ser_nnunet.benchmark.dataset_view import Source

    problems = [
        f"--{name.replace('_', '-')} must be at least 1, {value} given"
        for name in ("epochs", "iterations", "val_iterations", "batch_size", "save_every")
        if (value := getattr(args, name)) is not None and value < 1
    ]
    for option, given in (("-tr", args.tr), ("--seeds", args.seeds)):
        twice = sorted({str(each) for each in given if given.count(each) > 1})
        problems += [f"{option}: {', '.join(twice)} named twice"] if twice else []
    if args.seeds and min(args.seeds) < 0:
        problems.append(f"--seeds must not be negative, {min(args.seeds)} given")
    source = Source(preprocessed_dataset(args.d), args.p, args.c, args.f, args.batch_size, args.train_cases)
    found = source.problems()
    problems += found or _trainer_problems(args, source)
    if problems:
        raise UserError("this benchmark can't start:\n" + "\n".join(f"  {problem}" for problem in problems))
    return source


def _trainer_problems(args: argparse.Namespace, source: Source) -> list[str]:
    from ser_nnunet.benchmark.trainer_checks import find_problems

    return find_problems(args.tr, args.epochs, source.plans, args.c, os.environ.get(SAM_CHECKPOINT))


def _sam(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return trainer -> what its runs record about SAM: nothing but None for those that train without.

    Raises:
        UserError: runs in the output folder were guided by another SAM.
    """
    from ser_nnunet.benchmark.run_provenance import refuse_other_sam, sam_record
    from ser_nnunet.benchmark.trainer_checks import is_guided

    records: dict[str, dict[str, Any]] = {name: {"sam_file": None, "sam_sha256": None} for name in args.tr}
    guided = [name for name in args.tr if is_guided(name, args.epochs)]
    if guided:
        sam = sam_record(os.environ[SAM_CHECKPOINT])
        refuse_other_sam([Run("", 0, folder) for folder in sorted((args.o / "runs").glob("*"))], sam)
        records |= dict.fromkeys(guided, sam)
    return records


def _settings(args: argparse.Namespace, source: Source) -> dict[str, Any]:
    """Return what all runs in one output folder must share."""
    return {
        "dataset": source.folder.name,
        "configuration": args.c,
        "fold": args.f,
        "plans": source.used_plans_name,
        "plan_and_split": source.digest(),
        "epochs": args.epochs,
        "iterations": args.iterations,
        "val_iterations": _val_iterations(args),
        "train_cases": args.train_cases,
        "device": args.device,
        "threads": _threads(args),
    }


def _same_benchmark(file: Path, settings: dict[str, Any]) -> None:
    """Write the settings, or refuse to mix them with others: the runs would not be comparable."""
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        differing = [key for key in settings if before.get(key) != settings[key]]
        if differing:
            told = "; ".join(f"{key} {before.get(key)} there, {settings[key]} now" for key in differing)
            raise UserError(f"{file.parent} holds another benchmark ({told}): choose another -o, or the same settings")
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(settings, indent=1), encoding="utf-8")
