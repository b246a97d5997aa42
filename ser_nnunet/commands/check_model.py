"""`ser-nnunet check-model FOLDER_OR_ZIP`: what a received model holds, before nnU-Net loads it."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's argument."""
    parser.description = (
        "Look into a model from elsewhere without loading it: nnUNetv2_predict unpickles checkpoints, which can run "
        "any code. Exit status 1 if it holds more than tensors and plain data, or can't be used here."
    )
    what = (
        "TRAINER__PLANS__CONFIGURATION of nnUNet_results, a folder around it, or a zip of nnUNetv2_export_model_to_zip"
    )
    parser.add_argument("model", type=Path, metavar="FOLDER_OR_ZIP", help=what)


def run(args: argparse.Namespace) -> int:
    """Print what was found; return 1 if something is not as it should be, else 0."""
    from ser_nnunet.nnunet.received_model import examine_model
    from ser_nnunet.utils.printable import printable

    observations = list(examine_model(args.model))
    width = max(len(observation.subject) for observation in observations)
    for subject, is_fine, found in observations:
        print(printable(f"{subject:<{width}}  {'ok' if is_fine else 'PROBLEM':<7}  {found}"))
    bad = sum(not observation.is_fine for observation in observations)
    print(f"\n{bad} problems: see above" if bad else "\nno code found; this does not say how good the model is")
    return 1 if bad else 0
