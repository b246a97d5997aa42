"""`ser-nnunet benchmark size|speed|accuracy|proxy-sam`: side by side with nnU-Net, in one run."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser_nnunet.benchmark import accuracy, size, speed
from ser_nnunet.benchmark.plan_source import add_plan_arguments
from ser_nnunet.commands import benchmark_proxy_sam as proxy_sam

KINDS = {
    "size": (size, "parameters, multiply-accumulates, bytes, memory of a forward pass"),
    "speed": (speed, "a training step and the prediction of a volume, interleaved"),
    "accuracy": (accuracy, "train the same number of iterations, predict the fold's cases, evaluate"),
    "proxy-sam": (proxy_sam, "train a small promptable segmenter to take SAM's place where its weights can't be had"),
}
OF_ONE_PLAN = ("size", "speed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the benchmarks."""
    kinds = parser.add_subparsers(dest="benchmark", metavar="|".join(KINDS), required=True)
    for name, (module, text) in KINDS.items():
        kind = kinds.add_parser(name, help=text, description=f"{text}.")
        if name in OF_ONE_PLAN:
            add_plan_arguments(kind)
        module.add_arguments(kind)
        folder = {"type": Path, "default": Path("benchmark"), "metavar": "DIR"}
        kind.add_argument("-o", help="where the tables go (default: ./benchmark)", **folder)  # type: ignore[arg-type]
        device = "cuda, cpu or mps (default: cuda where there is one)"
        kind.add_argument("-device", choices=("cuda", "cpu", "mps"), help=device)


def run(args: argparse.Namespace) -> int:
    """Run one of them."""
    import torch

    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return KINDS[args.benchmark][0].run(args)
