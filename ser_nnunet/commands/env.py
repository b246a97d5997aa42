"""`ser-nnunet env`: print the line that lets nnU-Net find SER's trainers."""

from __future__ import annotations

import argparse
import os
import shlex

from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, with_trainers

LINES = {
    "sh": lambda value: f"export {EXTERNAL_TRAINERS}={shlex.quote(value)}",
    "fish": lambda value: "set -gx {} '{}'".format(EXTERNAL_TRAINERS, value.replace("\\", "\\\\").replace("'", "\\'")),
    "powershell": lambda value: "$env:{} = '{}'".format(EXTERNAL_TRAINERS, value.replace("'", "''")),
    "cmd": lambda value: f'set "{EXTERNAL_TRAINERS}={value}"',
}
"""Shell -> the line that sets the variable there; `sh` is for bash, zsh and every other POSIX shell."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    parser.description = (
        'Print the line that lets nnU-Net find SER\'s trainers, for  eval "$(ser-nnunet env)"  in your shell or its '
        "start-up file (PowerShell:  ser-nnunet env --shell powershell | Invoke-Expression;  fish:  ser-nnunet env "
        "--shell fish | source). What nnUNet_extTrainer holds already is kept. Only training needs it."
    )
    shell = "shell that reads the line: sh for bash, zsh and the like (default: sh)"
    parser.add_argument("--shell", choices=("sh", "bash", "zsh", *list(LINES)[1:]), default="sh", help=shell)


def run(args: argparse.Namespace) -> int:
    """Print the line, and nothing else, on standard output."""
    line = LINES["sh" if args.shell in ("bash", "zsh") else args.shell]
    print(line(with_trainers(os.environ.get(EXTERNAL_TRAINERS))))
    return 0
