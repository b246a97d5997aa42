"""`ser-nnunet benchmark predict`: an exported file against `nnUNetv2_predict`, from start to masks on disk."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser_nnunet.commands.number_types import threads, tile_step, whole
from ser_nnunet.errors import UserError
from ser_nnunet.export.fold_files import find_checkpoints
from ser_nnunet.runtime.model_file import open_model

CHECKPOINT = "checkpoint_final.pth"
"""That `nnUNetv2_predict` takes by default."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the parser."""
    add = parser.add_argument
    add("-i", type=Path, required=True, metavar="DIR", help="folder of images in nnU-Net's format")
    add("-m", type=Path, required=True, metavar="FILE", help="exported model to time")
    folders = "trained-model folders that nnU-Net predicts with; the first one's time is the baseline"
    add("--folders", type=Path, nargs="+", required=True, metavar="MODEL_FOLDER", help=folders)
    add("--rounds", type=whole(1, 1000), default=3, metavar="N", help="number of timed rounds (default: 3)")
    add(
        "--tta",
        choices=("mirror", "off"),
        default="mirror",
        help="mirroring (test-time augmentation) of all systems (default: mirror)",
    )
    add(
        "--step",
        type=tile_step,
        default=0.5,
        metavar="F",
        help="distance of neighbouring tiles, in tiles, of all systems (default: 0.5)",
    )
    add("--threads", type=threads, metavar="N", help="number of CPU threads (default: every core)")


def run(args: argparse.Namespace) -> int:
    """Time everything, write the tables, show them."""
    folds = find_folds(args.folders, args.m)
    from ser_nnunet.benchmark.prediction_times import PredictionSettings, run_predictions

    names = [f"nnUNetv2_predict, {folder.resolve().name}" for folder in args.folders]
    settings = PredictionSettings(
        images=args.i,
        model=args.m,
        folders=dict(zip(names, args.folders, strict=True)),
        folds=dict(zip(names, folds, strict=True)),
        output=args.o,
        rounds=args.rounds,
        mirror=args.tta == "mirror",
        step=args.step,
        threads=args.threads,
    )
    written = run_predictions(settings)
    print(written[1].read_text(encoding="utf-8"))
    print(f"written to {', '.join(map(str, written))}")
    return 0


def find_folds(folders: Sequence[Path], model: Path) -> list[tuple[str, ...]]:
    """Return each folder's trained folds, those that `ser-nnunet export` takes.

    Raises:
        UserError: for all folders that are no trained models, and for a file that is no exported one.
    """
    problems, folds = [], []
    for folder in folders:
        try:
            folds.append(tuple(find_checkpoints(folder, None, CHECKPOINT)))
        except UserError as error:
            problems.append(str(error))
    try:
        open_model(model)
    except UserError as error:
        problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return folds
