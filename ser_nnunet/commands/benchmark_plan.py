"""The arguments that choose the plan of `ser-nnunet benchmark size` and `speed`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ser_nnunet.benchmark.benchmark_settings import DEFAULT_PLANS, HypotheticalDataset, PlanSettings
from ser_nnunet.commands.number_types import decimal, whole
from ser_nnunet.errors import UserError

OF_SHAPE = ("spacing", "channels", "classes", "cases")
"""Options that describe a hypothetical data set."""


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose a plan."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-d", metavar="ID", help="number or name of a planned data set")
    source.add_argument("-plans", type=Path, metavar="FILE", help="plans file to use without its data set")
    shape: dict[str, Any] = {"type": whole(1, 10_000), "nargs": 3, "metavar": "N"}
    planned = "shape (slices rows columns) of hypothetical images, for which nnU-Net's planner is run"
    source.add_argument("--shape", help=planned, **shape)
    add = parser.add_argument
    add("-c", default="2d", metavar="CONFIG", help="configuration of the plan (default: 2d)")
    plans = f"name of the plans of -d (default: {DEFAULT_PLANS})"
    add("-p", default=DEFAULT_PLANS, metavar="PLANS", help=plans)
    add(
        "--dataset-json",
        type=Path,
        metavar="FILE",
        help="dataset.json that belongs to -plans (default: the one beside it)",
    )
    of_shape = parser.add_argument_group("with --shape")
    spacing: dict[str, Any] = {
        "type": decimal(0.001, 1000),
        "nargs": 3,
        "metavar": "MM",
    }
    of_shape.add_argument("--spacing", help="voxel spacing in mm (default: 1 1 1)", **spacing)
    for name, most in {"channels": 1000, "classes": 1000, "cases": 1_000_000}.items():
        default = getattr(HypotheticalDataset, name)
        of_shape.add_argument(
            f"--{name}",
            type=whole(1, most),
            metavar="N",
            help=f"number of {name} of the data set (default: {default})",
        )
    median = "shape (slices rows columns) of the volume to predict (default: the data set's median, after resampling)"
    add("--volume", help=median, **shape)


def read_plan_settings(args: argparse.Namespace) -> PlanSettings:
    """Return the plan that the arguments choose; `UserError` for options that belong to another source of plans."""
    source: str | Path | HypotheticalDataset = args.plans or args.d
    given = {name: getattr(args, name) for name in OF_SHAPE if getattr(args, name) is not None}
    if args.shape and args.dataset_json:
        raise UserError("--dataset-json belongs to -plans: with --shape, give --channels and --classes")
    if args.shape:
        if args.spacing:
            given["spacing"] = tuple(args.spacing)
        source = HypotheticalDataset(tuple(args.shape), **given)
    elif given:
        options = ", ".join(f"--{name}" for name in given)
        raise UserError(f"{options} belong to --shape: {source} has channels, classes, cases and spacing of its own")
    return PlanSettings(
        source,
        configuration=args.c,
        plans_name=args.p,
        dataset_json=args.dataset_json,
        volume=tuple(args.volume) if args.volume else None,
    )
