"""The arguments that choose the plan of `ser-nnunet benchmark size` and `speed`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ser_nnunet.benchmark.benchmark_settings import DEFAULT_PLANS, HypotheticalDataset, PlanSettings
from ser_nnunet.commands.number_types import decimal, whole


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose a plan."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-d", metavar="ID", help="a planned data set: number or name")
    source.add_argument("-plans", type=Path, metavar="FILE", help="a plans file, without its data set")
    shape: dict[str, Any] = {"type": whole(1, 10_000), "nargs": 3, "metavar": "N"}
    planned = "what nnU-Net's planner makes of images of this shape (slices rows columns)"
    source.add_argument("--shape", help=planned, **shape)
    add = parser.add_argument
    add("-c", default="2d", metavar="CONFIG", help="configuration (default: 2d)")
    plans = f"with -d: the plans' name (default: {DEFAULT_PLANS})"
    add("-p", default=DEFAULT_PLANS, metavar="PLANS", help=plans)
    add("--dataset-json", type=Path, metavar="FILE", help="with -plans (default: the one beside it)")
    of_shape = parser.add_argument_group("with --shape")
    spacing: dict[str, Any] = {
        "type": decimal(0.001, 1000),
        "nargs": 3,
        "metavar": "MM",
        "default": HypotheticalDataset.spacing,
    }
    of_shape.add_argument("--spacing", help="(default: 1 1 1)", **spacing)
    for name, most in {"channels": 1000, "classes": 1000, "cases": 1_000_000}.items():
        default = getattr(HypotheticalDataset, name)
        limited = whole(1, most)
        of_shape.add_argument(f"--{name}", type=limited, default=default, metavar="N", help=f"(default: {default})")
    median = "slices, rows, columns to predict (default: the data set's median, after resampling)"
    add("--volume", help=median, **shape)


def read_plan_settings(args: argparse.Namespace) -> PlanSettings:
    """Return the plan that the arguments choose."""
    source: str | Path | HypotheticalDataset = args.plans or args.d
    if args.shape:
        source = HypotheticalDataset(tuple(args.shape), tuple(args.spacing), args.channels, args.classes, args.cases)
    return PlanSettings(
        source,
        configuration=args.c,
        plans_name=args.p,
        dataset_json=args.dataset_json,
        volume=tuple(args.volume) if args.volume else None,
    )
