"""`ser-nnunet benchmark proxy-sam`: a promptable segmenter of toy size, for measuring what guidance does."""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_nnunet.benchmark.plan_source import PLANS
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import preprocessed_dataset
from ser_nnunet.utils.variables import SAM_CHECKPOINT

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

    from ser_nnunet.benchmark.proxy_sam.training import Progress
    from ser_nnunet.benchmark.proxy_sam.training_slices import Pictures

NOT_SAM = (
    "This is NOT SAM: a few million parameters that have seen the images of these training cases and regions drawn "
    "without labels. It follows prompts; of the world it knows nothing."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the parser."""
    number: dict[str, Any] = {"type": int, "metavar": "N"}
    add = parser.add_argument
    data = "planned and preprocessed data sets whose training cases' images are used (never their labels)"
    add("-d", required=True, nargs="+", metavar="ID", help=data)
    add("-f", default=0, help="fold whose validation cases are left out (default: 0)", **number)
    add("-p", default=PLANS, metavar="PLANS", help=f"the plans' name (default: {PLANS})")
    add("--steps", default=1500, help="training steps of 16 prompts each (default: 1500)", **number)
    add("--image-size", default=256, help="pixels, a multiple of 16 (default: 256)", **number)
    add("--seed", default=0, help="of weights, pictures and prompts (default: 0)", **number)


def run(args: argparse.Namespace) -> int:
    """Train, then write `proxy_sam.pth` (a state dict, as SAM's checkpoints are), its history and its provenance."""
    sources = _sources(args)
    print(NOT_SAM)
    history: dict[str, list[Progress]] = defaultdict(list)
    sam = _train(args, sources, history)
    args.o.mkdir(parents=True, exist_ok=True)
    for kind, each in history.items():
        last = [progress.overlap for progress in each[-(len(each) // 10 or 1) :]]
        print(f"{kind:>16}: mean IoU {sum(last) / len(last):.3f} over the last {len(last)} steps")
    _write(args, sources, sam, history)
    file = args.o / "proxy_sam.pth"
    print(f"written to {file}; use it with  export {SAM_CHECKPOINT}={file.resolve()}")
    return 0


def _train(args: argparse.Namespace, sources: list[Pictures], history: dict[str, list[Progress]]) -> Sam:
    from tqdm import tqdm

    from ser_nnunet.benchmark.proxy_sam.training import train

    with tqdm(total=args.steps, unit="step") as bar:
        for trained, progress in train(sources, args.steps, args.image_size, args.seed, args.device):
            sam = trained
            history[progress.kind].append(progress)
            bar.set_postfix_str(f"{progress.kind}: IoU {progress.overlap:.2f}", refresh=False)
            bar.update()
    return sam


def _sources(args: argparse.Namespace) -> list[Pictures]:
    """Return where pictures come from. Raises `UserError` with everything that would stop the training."""
    try:
        from ser_nnunet.benchmark.proxy_sam.training_slices import Pictures
    except ImportError as error:
        raise UserError(f"{error}: install SAM's code with  pip install 'ser-nnunet[sam]'") from error
    from ser_nnunet.benchmark.dataset_view import Source

    problems = [f"--steps must be at least 1, {args.steps} given"] if args.steps < 1 else []
    if args.image_size < 64 or args.image_size % 16:
        problems.append(f"--image-size must be a multiple of 16 from 64 on, {args.image_size} given")
    sources = []
    for name in args.d:
        source = Source(preprocessed_dataset(name), args.p, "2d", args.f)
        found = source.problems()
        problems += found
        if not found:
            patch = source.plans["configurations"]["2d"]["patch_size"]
            sources.append(Pictures(source.data, tuple(source.splits[args.f]["train"]), tuple(patch)))
    if problems:
        raise UserError("the proxy-sam can't be trained:\n" + "\n".join(f"  {problem}" for problem in problems))
    return sources


def _write(args: argparse.Namespace, sources: list[Pictures], sam: Sam, history: dict[str, list[Progress]]) -> None:
    import torch

    from ser_nnunet.benchmark.provenance import provenance

    unfinished = args.o / "proxy_sam.unfinished"
    torch.save({name: weight.cpu() for name, weight in sam.state_dict().items()}, unfinished)
    unfinished.replace(args.o / "proxy_sam.pth")
    _write_history(history, args.o / "proxy_sam.csv")
    record: dict[str, Any] = dict(
        provenance(args.device, fold=args.f, steps=args.steps, image_size=args.image_size, seed=args.seed)
    )
    record["images"] = {source.folder.parent.name: list(source.cases) for source in sources}
    (args.o / "proxy_sam.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _write_history(history: dict[str, list[Progress]], file: Path) -> None:
    rows = sorted((progress for each in history.values() for progress in each), key=lambda progress: progress.step)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["step", "prompt", "loss", "iou"])
        writer.writerows([row.step, row.kind, f"{row.loss:.4f}", f"{row.overlap:.4f}"] for row in rows)
