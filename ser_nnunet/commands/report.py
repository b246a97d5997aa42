"""`ser-nnunet report`: write an evaluation as one HTML page."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ser_nnunet.commands.number_types import whole
from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.result_files import REPORT_FILE, RESULT_FILE, check_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="output folder of `ser-nnunet evaluate`")
    add("-o", type=Path, metavar="FILE", help="HTML file to write (default: DIR/report.html)")
    add(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of the images, if they have moved or the evaluation found none",
    )
    add("--cases", nargs="+", default=[], metavar="CASE", help="cases to draw in addition")
    add(
        "--pictures",
        type=whole(0, 1000),
        default=2,
        metavar="N",
        help="draw N of the best, of the median and of the worst cases (default: 2)",
    )
    add("--rank-by", default="Dice", metavar="METRIC", help="metric that ranks the cases (default: Dice)")
    add("--title", help="title of the page (default: made from the name of the data set)")


def run(args: argparse.Namespace) -> int:
    """Write the page and print its path."""
    file = args.o or args.folder / REPORT_FILE
    result = args.folder / RESULT_FILE
    if not result.is_file():
        raise UserError(f"{result}: a result of `ser-nnunet evaluate` (in the folder of its -o) expected, none found")
    check_report(file)
    if args.images is not None and not args.images.is_dir():
        raise UserError(f"--images {args.images} is not a folder")
    from ser_nnunet.evaluation.result import Evaluation

    evaluation = Evaluation.read(args.folder)
    from ser_nnunet.evaluation.report import write_report

    if args.images is not None:
        evaluation = replace(evaluation, about=evaluation.about | {"images": str(args.images.resolve())})
    about = evaluation.about
    if args.pictures or args.cases:
        folders = [about["reference"], *about["methods"].values(), *([about["images"]] if about["images"] else [])]
        print(f"reading the cases to draw from {', '.join(folders)}")
    write_report(
        evaluation,
        file,
        cases=args.cases,
        pictures=args.pictures,
        rank_by=args.rank_by,
        title=args.title,
    )
    print(f"written: {file}")
    return 0
