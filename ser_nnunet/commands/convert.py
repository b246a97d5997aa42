"""`ser-nnunet convert DATASET SOURCE -d ID`: a downloaded data set -> nnUNet_raw/DatasetXXX_Name."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ser_nnunet.commands.layout_arguments import LAYOUTS
from ser_nnunet.commands.number_types import processes, whole
from ser_nnunet.dataset_conversion.registry import CONVERTERS
from ser_nnunet.utils.printable import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one subcommand per data set."""
    datasets = parser.add_subparsers(dest="dataset", metavar="DATASET", required=True)
    for name, converter in CONVERTERS.items():
        sub = datasets.add_parser(name, help=converter.help, description=converter.help)
        sub.add_argument(
            "source", metavar="SOURCE", help="folder of the unpacked download; the files may lie at any depth"
        )
        identifier = "nnU-Net's id, 1 to 999"
        sub.add_argument("-d", dest="dataset_id", type=whole(1, 999), required=True, metavar="ID", help=identifier)
        sub.add_argument("--name", help="name after DatasetXXX_ (default: the data set's)")
        sub.add_argument("--exclude", nargs="+", metavar="CASE", default=[], help="cases to exclude")
        unlabelled = (
            "folder of scans without labels, CASE_0000.nii.gz with one file per channel as in imagesTs: they become "
            "training cases without annotation, which SERTrainerSemi and SERTrainerSemiNoSAM learn from"
        )
        sub.add_argument("--unlabelled", metavar="DIR", type=Path, help=unlabelled)
        sub.add_argument(
            "--dry-run", action="store_true", help="print the table of cases, run all checks, write nothing"
        )
        sub.add_argument(
            "--overwrite", action="store_true", help="replace an existing data set, once the new one is complete"
        )
        sub.add_argument(
            "-np",
            dest="processes",
            metavar="N",
            type=processes,
            help="number of processes, each with one case at a time (default: all cores that memory allows)",
        )
        sub.set_defaults(classes="shipped", channels=None, allow_partial=False)
        if converter.is_described:
            add_layout_arguments, _ = LAYOUTS[name]
            add_layout_arguments(sub)
            continue
        sub.add_argument(
            "--channels", nargs="+", metavar="CHANNEL", help="channels to use, in this order (default: all)"
        )
        sub.add_argument(
            "--allow-partial",
            action="store_true",
            help="accept fewer cases than the official release has, as after an incomplete download; not needed for a "
            "sample (at most a tenth of the cases) or if all test cases are absent: both are noted",
        )
        if converter.has_classes:
            sub.add_argument(
                "--classes",
                choices=("shipped", "merged", "regions"),
                help="classes as shipped (default), merged into one, or nested ones as nnU-Net regions",
            )


def run(args: argparse.Namespace) -> int:
    """Convert; return 0, or 130 after Ctrl-C. Raises `UserError` with everything that must be fixed."""
    from ser_nnunet.dataset_conversion import ConversionError, convert
    from ser_nnunet.dataset_conversion.core.summary import format_case_table, format_summary

    layout = LAYOUTS[args.dataset][1](args) if args.dataset in LAYOUTS else None
    try:
        report = convert(
            args.source,
            args.dataset_id,
            dataset=args.dataset,
            name=args.name,
            channels=args.channels,
            classes=args.classes,
            layout=layout,
            exclude=args.exclude,
            dry_run=args.dry_run,
            allow_partial=args.allow_partial,
            overwrite=args.overwrite,
            processes=args.processes,
            unlabelled=args.unlabelled,
        )
    except ConversionError as error:
        if args.dry_run and error.report:
            print(printable(format_case_table(error.report)))
        raise
    except KeyboardInterrupt:
        print("interrupted: nothing was left behind", file=sys.stderr)
        return 130
    if args.dry_run:
        print(printable(format_case_table(report)))
    print(printable(format_summary(report, args.dataset_id)))
    return 0
