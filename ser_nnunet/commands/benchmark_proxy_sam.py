"""`ser-nnunet benchmark proxy-sam`: a small promptable segmenter, for experiments without SAM's weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser_nnunet.benchmark.benchmark_settings import DEFAULT_PLANS, PROXY_PARTS, ProxySamSettings
from ser_nnunet.commands.number_types import fold, seed, steps, whole
from ser_nnunet.utils.variables import SAM_CHECKPOINT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the parser."""
    default = ProxySamSettings
    add = parser.add_argument
    data = "planned and preprocessed data sets whose training cases' images are used"
    add("-d", required=True, nargs="+", metavar="ID", help=data)
    left_out = f"fold whose validation cases are left out (default: {default.fold})"
    add("-f", type=fold, default=default.fold, metavar="N", help=left_out)
    add("-p", default=DEFAULT_PLANS, metavar="PLANS", help=f"name of the plans (default: {DEFAULT_PLANS})")
    shown = f"number of training steps of 16 prompts each (default: {default.steps})"
    add("--steps", type=steps, default=default.steps, metavar="N", help=shown)
    pixels = "image size in pixels, a multiple of 16 (default: the checkpoint's own, or 256)"
    add("--image-size", type=whole(64, 4096), metavar="N", help=pixels)
    drawn = f"seed of weights, images and prompts (default: {default.seed})"
    add("--seed", type=seed, default=default.seed, metavar="N", help=drawn)
    known = "train it on the classes of the training cases, too: a teacher that knows the task (default: images alone)"
    add("--labels", action="store_true", help=known)
    begin = "SAM of any size, or proxy SAM, to continue from (default: begin anew)"
    add("--checkpoint", type=Path, metavar="FILE", help=begin)
    part = f"what is trained; the rest stays as it is in --checkpoint (default: {default.part})"
    add("--train", choices=tuple(PROXY_PARTS), default=default.part, help=part)
    own = "training cases whose labels are not read even so, because a student will be trained on them"
    add("--unlabelled", nargs="+", default=[], metavar="CASE", help=own)


def run(args: argparse.Namespace) -> int:
    """Train, write the checkpoint, show how well each kind of prompt is followed."""
    settings = ProxySamSettings(
        tuple(args.d),
        output=args.o,
        device=args.device,
        fold=args.f,
        plans_name=args.p,
        steps=args.steps,
        image_size=args.image_size,
        seed=args.seed,
        labels=args.labels,
        unlabelled=tuple(args.unlabelled),
        checkpoint=args.checkpoint,
        part=args.train,
    )
    from ser_nnunet.benchmark.proxy_sam.run import describe, run_proxy_sam

    print(describe(settings))
    checkpoint, history = run_proxy_sam(settings)
    for kind in dict.fromkeys(progress.kind for progress in history):
        overlaps = [progress.overlap for progress in history if progress.kind == kind]
        last = overlaps[-(len(overlaps) // 10 or 1) :]
        print(f"{kind:>16}: mean IoU {sum(last) / len(last):.3f} over the last {len(last)} steps")
    print(f"written to {checkpoint}; use it with  export {SAM_CHECKPOINT}={checkpoint.resolve()}")
    return 0
