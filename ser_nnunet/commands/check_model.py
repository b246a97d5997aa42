"""`ser-nnunet check-model MODEL`: what a received model holds, before anything of it is loaded or run."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's argument."""
    parser.description = (
        "Look into a model from elsewhere without loading it: nnUNetv2_predict unpickles checkpoints, which can run "
        "any code, and an exported file brings code along. Exit status 1 if it holds more than tensors and plain data, "
        "was changed after its export, or can't be used here."
    )
    what = (
        "TRAINER__PLANS__CONFIGURATION of nnUNet_results, a folder around it, a zip of nnUNetv2_export_model_to_zip, "
        "or a file of ser-nnunet export (.pyz, or .zip for nnU-Net)"
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help=what)


def run(args: argparse.Namespace) -> int:
    """Print what was found; return 1 if something is not as it should be, else 0."""
    from ser_nnunet.export.nnunet_code import known_parts
    from ser_nnunet.export.received_file import examine_exported, is_exported
    from ser_nnunet.nnunet.received_model import examine_model
    from ser_nnunet.utils.printable import counted, printable

    exported = is_exported(args.model)
    observations = list(examine_exported(args.model) if exported else examine_model(args.model, known_parts()))
    width = max(len(observation.subject) for observation in observations)
    for subject, is_fine, found in observations:
        print(printable(f"{subject:<{width}}  {'ok' if is_fine else 'PROBLEM':<7}  {found}"))
    bad = sum(not observation.is_fine for observation in observations)
    has_code = any(observation.subject == "code" for observation in observations)
    harmless = "no code but that of ser-nnunet" if has_code else "no code"
    fine = f"{harmless} found; this does not say how good the model is"
    print("\n" + (f"{counted(bad, 'problem')}: see above" if bad else fine))
    return 1 if bad else 0
