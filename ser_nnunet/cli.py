"""The command line `ser-nnunet COMMAND ...`: one module per command, imported only if the command is called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from ser_nnunet import __version__
from ser_nnunet.errors import UserError


class Command(NamedTuple):
    """A command's module, which has `add_arguments(parser)` and `run(args) -> exit status`, and its help line."""

    module: str
    help: str


COMMANDS = {
    "convert": Command("ser_nnunet.commands.convert", "convert a downloaded data set to nnU-Net's raw format"),
    "env": Command("ser_nnunet.commands.env", "print the line that lets nnU-Net find the trainers"),
    "check": Command("ser_nnunet.commands.check", "check whether everything that a training needs is there"),
    "export": Command("ser_nnunet.commands.export", "write a trained model as one file that needs no nnU-Net"),
    "predict": Command("ser_nnunet.commands.predict", "predict with an exported model, without torch and nnU-Net"),
    "evaluate": Command("ser_nnunet.commands.evaluate", "compare predicted with reference segmentations"),
    "report": Command("ser_nnunet.commands.report", "turn an evaluation into one HTML page"),
    "benchmark": Command("ser_nnunet.commands.benchmark", "compare size, speed and accuracy with nnU-Net"),
    "demo": Command(
        "ser_nnunet.commands.demo", "run every step once, from conversion to evaluation, on a simulated cohort"
    ),
}


def build_parser(called: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; only the `called` command's module is imported and filled with its arguments."""
    parser = argparse.ArgumentParser(
        prog="ser-nnunet",
        description="What the nnU-Net plugin SER adds to nnU-Net's own commands. Research use, not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"ser-nnunet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.help, description=command.help)
        if name == called:
            module = import_module(command.module)
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status (2 where the user has something to fix)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    args = build_parser(called).parse_args(arguments)
    try:
        return int(args.run(args))
    except UserError as error:
        print(f"ser-nnunet {args.command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
