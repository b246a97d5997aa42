"""`ser-nnunet benchmark size|speed|predict|accuracy|proxy-sam`: side by side with nnU-Net, in one run."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser_nnunet.benchmark.benchmark_settings import OUTPUT
from ser_nnunet.commands import (
    benchmark_accuracy,
    benchmark_predict,
    benchmark_proxy_sam,
    benchmark_size,
    benchmark_speed,
)
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import preprocessed_dataset

KINDS = {
    "size": (benchmark_size, "count parameters and multiply-accumulates, and measure the memory of a forward pass"),
    "speed": (benchmark_speed, "time a training step and the prediction of a volume, in alternation"),
    "predict": (benchmark_predict, "time an exported model and nnUNetv2_predict, from start to masks on disk"),
    "accuracy": (benchmark_accuracy, "train the same number of iterations, predict the fold's cases, evaluate"),
    "proxy-sam": (
        benchmark_proxy_sam,
        "train a small promptable segmenter, which is not SAM, for experiments without SAM's weights",
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one subcommand per benchmark."""
    kinds = parser.add_subparsers(dest="benchmark", metavar="|".join(KINDS), required=True)
    for name, (module, text) in KINDS.items():
        kind = kinds.add_parser(name, help=text, description=f"{text}.")
        module.add_arguments(kind)
        output = f"folder for the tables (default: ./{OUTPUT})"
        kind.add_argument("-o", type=Path, default=OUTPUT, metavar="DIR", help=output)
        device = "device to compute on (default: cuda where there is one)"
        kind.add_argument("-device", choices=("cuda", "cpu", "mps"), help=device)


def refuse_missing(args: argparse.Namespace) -> None:
    """Refuse data sets, plans, images and models that don't exist before the imports, which take seconds.

    What else is wrong is found after them, and all of it is reported at once.

    Raises:
        UserError: names them.
    """
    given = vars(args)
    datasets = given.get("d") or []
    for dataset in [datasets] if isinstance(datasets, str) else datasets:
        preprocessed_dataset(dataset)
    files = [given[name] for name in ("plans", "dataset_json", "i", "m") if given.get(name)]
    missing = [str(path) for path in [*files, *given.get("folders", ())] if not path.exists()]
    if missing:
        raise UserError(f"no such file or folder: {', '.join(missing)}")


def run(args: argparse.Namespace) -> int:
    """Run one of them; return its exit status."""
    refuse_missing(args)
    from ser_nnunet.benchmark.device import choose_device

    args.device = args.device or choose_device()
    return KINDS[args.benchmark][0].run(args)
