"""`ser-nnunet demo`: simulate, convert, plan, train, predict, evaluate, with the commands that a user would type."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ser_nnunet.commands.number_types import decimal, seed, whole
from ser_nnunet.demo.demo_settings import LEAST_PATIENTS, MOST_PATIENTS, SPACINGS, DemoSettings, check_settings
from ser_nnunet.utils.output_checks import require_writable_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the command's parser."""
    defaults, add = DemoSettings(), parser.add_argument
    folder = "folder to write all files to (default: %(default)s); an earlier demo there is replaced"
    add("--folder", type=Path, default=defaults.folder, metavar="DIR", help=folder)
    patients = "number of simulated training patients (default: %(default)s; some have several scans)"
    add("--patients", type=whole(LEAST_PATIENTS, MOST_PATIENTS), default=defaults.patients, metavar="N", help=patients)
    test_patients = "number of simulated test patients (default: %(default)s)"
    tested = whole(1, MOST_PATIENTS)
    add("--test-patients", type=tested, default=defaults.test_patients, metavar="N", help=test_patients)
    spacing = "voxel size in mm (default: %(default)s)"
    add("--spacing", type=decimal(*SPACINGS), default=defaults.spacing, metavar="MM", help=spacing)
    add("--seed", type=seed, default=defaults.seed, help="seed of the simulation (default: %(default)s)")
    configuration = "configuration that nnU-Net plans and the demo trains (default: %(default)s)"
    choices = ("2d", "3d_fullres")
    add("--configuration", choices=choices, default=defaults.configuration, help=configuration)
    device = "device to train and predict on (default: cuda if there is a GPU)"
    add("--device", choices=("cpu", "cuda"), help=device)


def run(args: argparse.Namespace) -> int:
    """Run the demo; return 1 if the training failed to learn, 130 after Ctrl-C. Raises `UserError`."""
    settings = DemoSettings(
        args.folder, args.patients, args.test_patients, args.spacing, args.seed, args.configuration, args.device
    )
    check_settings(settings)
    require_writable_folder(args.folder)
    from ser_nnunet.demo.demo_pipeline import EXPECTED_DICE, run_demo

    try:
        dice = run_demo(settings)
    except KeyboardInterrupt:
        print("\ninterrupted; the next demo in this folder starts anew", file=sys.stderr)
        return 130
    return 0 if dice >= EXPECTED_DICE else 1
