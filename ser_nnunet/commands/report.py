"""`ser-nnunet report`: an evaluation -> one HTML page."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ser_nnunet.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the command's parser."""
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="the -o of `ser-nnunet evaluate`")
    add("-o", type=Path, metavar="FILE", help="the page (default: DIR/report.html)")
    add("--images", type=Path, metavar="DIR", help="the images, if the evaluation didn't know them or they have moved")
    add("--cases", nargs="+", default=[], metavar="CASE", help="draw these besides the best, median and worst ones")
    add("--pictures", type=int, default=2, metavar="N", help="draw N of the best, median and worst cases (default: 2)")
    add("--rank-by", default="Dice", metavar="METRIC", help="what makes a case the best (default: Dice)")
    add("--title", help="of the page")


def run(args: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    from ser_nnunet.evaluation.report.page import write_report
    from ser_nnunet.evaluation.result import Evaluation

    if args.pictures < 0:
        raise UserError(f"--pictures counts cases and cannot be {args.pictures}")
    evaluation = Evaluation.read(args.folder)
    if args.images is not None:
        if not args.images.is_dir():
            raise UserError(f"--images {args.images} is no folder")
        evaluation = replace(evaluation, about=evaluation.about | {"images": str(args.images.resolve())})
    file = write_report(
        evaluation,
        args.o or args.folder / "report.html",
        cases=args.cases,
        pictures=args.pictures,
        rank_by=args.rank_by,
        title=args.title,
    )
    print(f"written: {file}")
    return 0
