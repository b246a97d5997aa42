"""`ser-nnunet crossval`: all folds and configurations, on a SLURM cluster or on this machine."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_nnunet.cluster.crossval_settings import CrossvalSettings, parse_minutes, read_settings
from ser_nnunet.commands.number_types import by_name, fold, memory_gb, whole
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import preprocessed_dataset
from ser_nnunet.utils.printable import printable

if TYPE_CHECKING:
    from ser_nnunet.cluster.crossval_states import TaskState

CLEAR = "\x1b[H\x1b[2J"
ATTENTION = 1
"""Exit status where a task has failed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    default = CrossvalSettings("", (), (), "")
    add = parser.add_argument
    add("-d", required=True, metavar="ID", help="a planned and preprocessed data set: number or name")
    add("-c", nargs="+", default=["2d"], metavar="CONFIG", help="configurations to train (default: 2d)")
    folds = "numbers of the folds, or all (default: 0 1 2 3 4)"
    add("-f", nargs="+", type=_fold, default=["0", "1", "2", "3", "4"], metavar="FOLD", help=folds)
    add("-tr", default="SERTrainer", metavar="TRAINER", help="trainer: SER's, nnU-Net's or yours (default: SERTrainer)")
    compare = "train these as well, and compare them in the evaluation"
    add("--compare", nargs="+", default=[], metavar="TRAINER", help=compare)
    add("-p", default=default.plans, metavar="PLANS", help=f"the plans' name (default: {default.plans})")
    images = "predict this folder of images (imagesTs, or a path) with the best configuration"
    add("--predict", metavar="DIR", help=images)
    add(
        "-device",
        choices=("cuda", "cpu", "mps"),
        default=default.device,
        help="device to train and predict on (default: cuda)",
    )
    where = "queue of the jobs: slurm, or local for this machine, one training per GPU at a time (default: slurm)"
    add("--cluster", choices=("slurm", "local"), default=default.engine, help=where)
    add("--dry-run", action="store_true", help="check everything and show what would be done; write nothing")
    _add_resources(parser.add_argument_group("resources of a job; CONFIG is a configuration or best, predict, ..."))
    _add_actions(parser.add_argument_group("a cross-validation that has been started (needs -d alone)"))


def _add_resources(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--gpus-per-job", type=whole(1, 64), default=1, metavar="N", help="number of GPUs (default: 1)")
    add("--cpus-per-job", type=whole(1, 1024), default=12, metavar="N", help="number of processor cores (default: 12)")
    time = (
        "time limit, such as 24h or 1-12:00:00, from 1m to 365d, one for all and one per CONFIG; a training that needs"
        " longer is requeued and resumes (default: 24h)"
    )
    add("--time", nargs="+", type=by_name(parse_minutes), default=[], metavar="[CONFIG=]TIME", help=time)
    memory = (
        "memory of the machine in GB, from 0.1 to 100000, one for all and one per CONFIG"
        " (default: 24 for 2D, 48 for 3D)"
    )
    add("--memory", nargs="+", type=by_name(memory_gb), default=[], metavar="[CONFIG=]GB", help=memory)
    add("--partition", metavar="NAME", help="partition of SLURM that the jobs are submitted to")
    add("--account", metavar="NAME", help="account of SLURM that the jobs are charged to")
    options = "any options of sbatch, such as qos=long or 3d_fullres:constraint=a100 for one configuration"
    add("--slurm", nargs="+", default=[], metavar="[CONFIG:]KEY=VALUE", help=options)


def _add_actions(group: argparse._ArgumentGroup) -> None:
    action = group.add_mutually_exclusive_group()
    action.add_argument("--status", action="store_true", help="show where every training stands")
    action.add_argument("--cancel", action="store_true", help="end all that is under way; it can be resumed")
    action.add_argument("--retry-failed", action="store_true", help="give the last command again")
    group.add_argument("--watch", action="store_true", help="repeat --status until nothing is under way")
    seconds = "time between the looks of --watch (default: 30)"
    group.add_argument("--interval", type=whole(1, 3600), default=30, metavar="SECONDS", help=seconds)
    page = "write --status with all learning curves as a page (default: crossval/status.html in the results)"
    group.add_argument("--html", nargs="?", type=Path, const=Path(), metavar="FILE", help=page)


def run(args: argparse.Namespace) -> int:
    """Start, go on with, show or cancel a cross-validation; 1 if something has failed."""
    dataset = preprocessed_dataset(args.d).name
    if not args.status and (args.watch or args.html is not None):
        raise UserError("--watch and --html belong to --status")
    if args.status or args.cancel:
        from ser_nnunet.cluster.cross_validation import cancel, open_crossval

        crossval = open_crossval(read_settings(dataset))
        if args.cancel:
            cancel(crossval)
            return 0
        return _show(crossval, args)
    settings = read_settings(dataset) if args.retry_failed else make_settings(args, dataset)
    from ser_nnunet.cluster import cross_validation

    if args.dry_run:
        print(printable("\n".join(cross_validation.describe_plan(cross_validation.prepare(settings)))))
        return 0
    everything = cross_validation.run(settings, lambda line: print(printable(line), flush=True))
    print(f"\nser-nnunet crossval -d {args.d} --status [--watch] [--html]   shows where it stands")
    if settings.engine == "local":
        args.watch = False
        status = _show(cross_validation.open_crossval(settings), args)
        return status or (0 if everything else ATTENTION)
    return 0


def _show(crossval: Any, args: argparse.Namespace) -> int:
    from ser_nnunet.cluster.cross_validation import watch
    from ser_nnunet.cluster.status_table import attention, format_states

    file = args.html
    if file == Path():
        file = crossval.settings.folder / "status.html"
    clear = CLEAR if args.watch and sys.stdout.isatty() else ""

    def show(states: Sequence[TaskState]) -> None:
        print(f"{clear}{printable(format_states(states))}", flush=True)
        if file is not None:
            from ser_nnunet.cluster.status_page import write_status_page

            write_status_page(crossval.settings, states, file, args.interval if args.watch else None)
            print(f"written: {file}")

    states = watch(crossval, show, args.interval if args.watch else None)
    return ATTENTION if attention(list(states.values())) else 0


def make_settings(args: argparse.Namespace, dataset: str) -> CrossvalSettings:
    """Return the settings that the arguments mean; `UserError` for what can't be read."""
    slurm: dict[str, dict[str, str]] = {}
    problems = [*_find_repeated("--time", args.time), *_find_repeated("--memory", args.memory)]
    for word in args.slurm:
        key, separator, value = word.partition("=")
        name, _, option = key.rpartition(":")
        if not separator or not option:
            problems.append(f"--slurm {word}: expected KEY=VALUE, such as qos=long or 3d_fullres:constraint=a100")
        slurm.setdefault(name, {})[option.lstrip("-")] = value
    if problems:
        raise UserError("\n".join(problems))
    common = {"partition": args.partition, "account": args.account}
    slurm[""] = {name: value for name, value in common.items() if value} | slurm.get("", {})
    settings = CrossvalSettings(
        dataset,
        tuple(dict.fromkeys(args.c)),
        tuple(dict.fromkeys(args.f)),
        args.tr,
        compare=tuple(name for name in dict.fromkeys(args.compare) if name != args.tr),
        plans=args.p,
        device=args.device,
        engine=args.cluster,
        gpus_per_job=args.gpus_per_job,
        cpus_per_job=args.cpus_per_job,
        minutes=dict(args.time),
        memory_gb=dict(args.memory),
        slurm=slurm,
    )
    if args.predict is None:
        return settings
    images = Path(args.predict)
    images = images if images.is_dir() else settings.raw / images
    return replace(settings, predict=str(images.resolve()))


def _find_repeated(option: str, pairs: Sequence[tuple[str, float]]) -> list[str]:
    """Return a sentence for every configuration that has several values, of which only one could hold."""
    counts = Counter(name for name, _ in pairs)
    return [
        f"{option}: {count} values for {name or 'all configurations and steps'}, one expected"
        f"{'' if name else '; CONFIG=VALUE is for one configuration or step'}"
        for name, count in counts.items()
        if count > 1
    ]


def _fold(text: str) -> str:
    try:
        return text if text == "all" else str(fold(text))
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, and not all") from None
