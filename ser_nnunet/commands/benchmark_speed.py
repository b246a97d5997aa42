"""`ser-nnunet benchmark speed`: training steps and predicted volumes, interleaved, as ratios to nnU-Net's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ser_nnunet.benchmark.benchmark_settings import SAM_SIZES, SpeedSettings
from ser_nnunet.commands.benchmark_plan import add_plan_arguments, read_plan_settings
from ser_nnunet.commands.number_types import batch_size, threads, whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the parser."""
    add_plan_arguments(parser)
    number: dict[str, Any] = {"type": whole(1, 10_000), "metavar": "N"}
    pixels: dict[str, Any] = {"type": whole(16, 4096), "metavar": "PX"}
    default = SpeedSettings
    add = parser.add_argument
    add("--rounds", default=default.rounds, help=f"number of timed rounds (default: {default.rounds})", **number)
    warmup = f"number of rounds before them that are not timed (default: {default.warmup})"
    add("--warmup", type=whole(0, 10_000), default=default.warmup, metavar="N", help=warmup)
    own = "batch size of the training step (default: that of the plan)"
    add("--batch-size", type=batch_size, metavar="N", help=own)
    slices = "number of slices to predict in 2D instead of the whole volume (the time is proportional)"
    add("--slices", help=slices, **number)
    of_torch = "number of CPU threads of torch (default: all cores; one beside a GPU)"
    add("--threads", type=threads, metavar="N", help=of_torch)
    add(
        "--sam-checkpoint",
        type=Path,
        metavar="FILE",
        help="checkpoint of SAM, with which a guided training step is timed in addition",
    )
    size = "size in pixels at which SAM sees a slice while training (default: that of the checkpoint)"
    add("--sam-image-size", help=size, **pixels)
    encoder = "size of SAM whose image encoder is timed in addition: ViT-B, ViT-L or ViT-H (no weights needed)"
    add("--sam-encoder", metavar="SIZE", choices=SAM_SIZES, help=encoder)
    sizes = default.sam_encoder_sizes
    timed = f"image sizes in pixels at which --sam-encoder is timed (default: {sizes[0]})"
    add("--sam-encoder-sizes", nargs="+", default=sizes, help=timed, **pixels)


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
