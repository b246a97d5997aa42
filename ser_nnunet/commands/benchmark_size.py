"""`ser-nnunet benchmark size`: parameters, multiply-accumulates, bytes and memory, side by side."""

from __future__ import annotations

import argparse

from ser_nnunet.benchmark.benchmark_settings import SizeSettings
from ser_nnunet.commands.benchmark_plan import add_plan_arguments, read_plan_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the parser."""
    add_plan_arguments(parser)
    parser.add_argument("--no-memory", action="store_true", help="skip the memory of a forward pass (a few seconds)")
    training = "measure the memory of a training step, too (nnU-Net's 3D networks need minutes and gigabytes on a CPU)"
    parser.add_argument("--training-memory", action="store_true", help=training)
    sizes = "SAM pipelines whose memory is measured too, with random weights: ViT-B takes a minute on a CPU"
    parser.add_argument("--sam-memory", nargs="+", default=[], metavar="SIZE", help=sizes)


def run(args: argparse.Namespace) -> int:
    """Count, write the tables, show them."""
    settings = SizeSettings(
        read_plan_settings(args),
        output=args.o,
        device=args.device,
        memory=not args.no_memory,
        sam_memory=tuple(args.sam_memory),
        training_memory=args.training_memory,
    )
    from ser_nnunet.benchmark.size import run_size

    written = run_size(settings)
    print(written[1].read_text(encoding="utf-8"))
    print(f"written to {', '.join(map(str, written))}")
    return 0
