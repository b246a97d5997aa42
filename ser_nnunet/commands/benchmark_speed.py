"""`ser-nnunet benchmark speed`: training steps and predicted volumes, interleaved, as ratios to nnU-Net's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ser_nnunet.benchmark.benchmark_settings import SAM_SIZES, SpeedSettings
from ser_nnunet.commands.benchmark_plan import add_plan_arguments, read_plan_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the parser."""
    add_plan_arguments(parser)
    number: dict[str, Any] = {"type": int, "metavar": "N"}
    default = SpeedSettings
    add = parser.add_argument
    add("--rounds", default=default.rounds, help=f"number of timed rounds (default: {default.rounds})", **number)
    warmup = f"number of rounds before them that are not timed (default: {default.warmup})"
    add("--warmup", default=default.warmup, help=warmup, **number)
    add("--batch-size", help="batch size of the training step (default: that of the plan)", **number)
    slices = "number of slices to predict in 2D instead of the whole volume (the time is proportional)"
    add("--slices", help=slices, **number)
    add("--threads", help="number of CPU threads of torch (default: all cores; one beside a GPU)", **number)
    add(
        "--sam-checkpoint",
        type=Path,
        metavar="FILE",
        help="checkpoint of SAM, with which a guided training step is timed in addition",
    )
    size = "size in pixels at which SAM sees a slice while training (default: that of the checkpoint)"
    add("--sam-image-size", help=size, **number)
    encoder = "size of SAM whose image encoder is timed in addition: ViT-B, ViT-L or ViT-H (no weights needed)"
    add("--sam-encoder", metavar="SIZE", choices=SAM_SIZES, help=encoder)
    pixels = default.sam_encoder_sizes
    add(
        "--sam-encoder-sizes",
        type=int,
        nargs="+",
        default=pixels,
        metavar="PX",
        help=f"image sizes in pixels at which --sam-encoder is timed (default: {pixels[0]})",
    )


def run(args: argparse.Namespace) -> int:
    """Time everything, write the tables, show them."""
    settings = SpeedSettings(
        read_plan_settings(args),
        output=args.o,
        device=args.device,
        rounds=args.rounds,
        warmup=args.warmup,
        batch_size=args.batch_size,
        slices=args.slices,
        threads=args.threads,
        sam_checkpoint=args.sam_checkpoint,
        sam_image_size=args.sam_image_size,
        sam_encoder=args.sam_encoder,
        sam_encoder_sizes=tuple(args.sam_encoder_sizes),
    )
    from ser_nnunet.benchmark.speed import run_speed

    written = run_speed(settings)
    print(written[1].read_text(encoding="utf-8"))
    print(f"written to {', '.join(map(str, written))}")
    return 0
