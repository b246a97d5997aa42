"""`ser-nnunet verify`: check a data set in nnU-Net's raw format."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser_nnunet.commands.number_types import processes, whole
from ser_nnunet.utils.printable import printable
from ser_nnunet.verification.verification_files import check_outputs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("-d", dest="dataset", required=True, metavar="ID", help="nnU-Net's id, or a path to a DatasetXXX_Name folder")
    who = (
        "regular expression for the beginning of case names; its first group (or all it matches) is the patient"
        " (default: conversion.json of ser-nnunet convert, else every case is a patient)"
    )
    add("--patients", metavar="REGEX", help=who)
    add("--groups", type=Path, metavar="FILE", help="the patients as a file, as for ser-nnunet evaluate")
    add("--accept", nargs="+", default=[], metavar="KIND", help="kinds of findings that are no errors but warnings")
    add("--json", type=Path, metavar="FILE", help="write all findings as JSON")
    add("--html", type=Path, metavar="FILE", help="write all findings as one self-contained HTML page with pictures")
    pictures = "cases with findings that the page shows (default: 20)"
    add("--pictures", type=whole(0, 1000), default=20, metavar="N", help=pictures)
    add("-np", type=processes, metavar="N", help="number of processes (default: every core, as far as memory allows)")


def run(args: argparse.Namespace) -> int:
    """Print the findings and write the files; return 1 if there are errors, else 0."""
    check_outputs(args.json, args.html)
    from ser_nnunet.verification.verification_result import format_verification
    from ser_nnunet.verification.verifier import verify

    result = verify(args.dataset, patients=args.patients, groups=args.groups, accept=args.accept, processes=args.np)
    print(printable(format_verification(result)))
    if args.json is not None:
        print(f"written: {result.write_json(args.json)}")
    if args.html is not None:
        from ser_nnunet.verification.verification_page import write_page

        print(f"written: {write_page(result, args.html, pictures=args.pictures)}")
    return 1 if result.errors else 0
