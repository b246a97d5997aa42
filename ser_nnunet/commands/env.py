"""`ser-nnunet env`: print the line that lets nnU-Net find SER's trainers."""

from __future__ import annotations

import argparse
import os
import shlex

from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, with_trainers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command; it has no arguments."""
    parser.description = (
        'Print the line that lets nnU-Net find SER\'s trainers, for  eval "$(ser-nnunet env)"  in your shell or its '
        "start-up file. What nnUNet_extTrainer holds already is kept."
    )


def run(args: argparse.Namespace) -> int:
    """Print the export line, and nothing else, on standard output."""
    print(f"export {EXTERNAL_TRAINERS}={shlex.quote(with_trainers(os.environ.get(EXTERNAL_TRAINERS)))}")
    return 0
