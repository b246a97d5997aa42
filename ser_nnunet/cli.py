"""The command line `ser-nnunet COMMAND ...`: one module per command, imported only if the command is called."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from ser_nnunet import __version__
from ser_nnunet.utils.faults import end_with
from ser_nnunet.utils.termination import interrupt_on_termination
from ser_nnunet.utils.variables import QUIET, environment


class Command(NamedTuple):
    """A command's module, which has `add_arguments(parser)` and `run(args) -> exit status`, and its help line."""

    module: str
    help: str


DEBUG_FLAG = "--debug"
QUIET_FLAG = "--quiet"

COMMANDS = {
    "convert": Command("ser_nnunet.commands.convert", "convert a downloaded data set to nnU-Net's raw format"),
    "verify": Command("ser_nnunet.commands.verify", "check a data set that is in nnU-Net's raw format"),
    "env": Command("ser_nnunet.commands.env", "print the line that lets nnU-Net find the trainers"),
    "check": Command("ser_nnunet.commands.check", "check whether everything that a training needs is there"),
    "embed": Command("ser_nnunet.commands.embed", "compute SAM's image embeddings for a guided training in advance"),
    "export": Command("ser_nnunet.commands.export", "write a trained model as one file that needs no nnU-Net"),
    "predict": Command("ser_nnunet.commands.predict", "predict with an exported model, without torch and nnU-Net"),
    "check-model": Command(
        "ser_nnunet.commands.check_model", "look into a model from elsewhere without loading it: does it hold code?"
    ),
    "evaluate": Command("ser_nnunet.commands.evaluate", "compare predicted with reference segmentations"),
    "report": Command("ser_nnunet.commands.report", "turn an evaluation into one HTML page"),
    "crossval": Command(
        "ser_nnunet.commands.crossval", "train all folds and configurations, on a SLURM cluster or on this machine"
    ),
    "benchmark": Command("ser_nnunet.commands.benchmark", "compare size, speed and accuracy with nnU-Net"),
    "completion": Command("ser_nnunet.commands.completion", "print the script that completes commands in your shell"),
    "demo": Command(
        "ser_nnunet.commands.demo", "run every step once, from conversion to evaluation, on a simulated cohort"
    ),
}


def build_parser(called: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; only the `called` command's module is imported and filled with its arguments.

    `completion` gets the arguments of all commands, and the parser itself.
    """
    parser = argparse.ArgumentParser(
        prog="ser-nnunet",
        description="What the nnU-Net plugin SER adds to nnU-Net's own commands. Research use, not a medical device.",
    )
    debug = "show the traceback of an error, too (also SER_DEBUG=1, also after the command)"
    parser.add_argument(DEBUG_FLAG, action="store_true", help=debug)
    quiet = "print nothing but warnings and errors, no tables and no progress bars (also after the command)"
    parser.add_argument(QUIET_FLAG, action="store_true", help=quiet)
    parser.add_argument("--version", action="version", version=f"ser-nnunet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.help, description=command.help)
        if called in (name, "completion"):
            module = import_module(command.module)
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run, **({"parser": parser} if name == "completion" else {}))
    return parser


@contextmanager
def silence() -> Iterator[None]:
    """Keep standard output and progress bars off the screen, those of child processes too."""
    with (
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
        environment({QUIET: "1", "TQDM_DISABLE": "1"}),
    ):
        yield


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 2 where the user has something to fix (see `utils.faults`).

    This is the one place that turns exceptions into messages; `--debug` or `SER_DEBUG=1` adds the traceback. `--quiet`
    leaves standard error, for warnings and errors.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = DEBUG_FLAG in arguments or os.environ.get("SER_DEBUG", "0") not in ("", "0")
    quiet = QUIET_FLAG in arguments
    arguments = [argument for argument in arguments if argument not in (DEBUG_FLAG, QUIET_FLAG)]
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding lacks must not end a command
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        args = build_parser(called).parse_args(arguments)
        with interrupt_on_termination(), silence() if quiet else nullcontext():
            status = int(args.run(args))
            sys.stdout.flush()
        return status
    except (Exception, KeyboardInterrupt) as error:
        return end_with(error, f"ser-nnunet {called}", debug)


if __name__ == "__main__":
    sys.exit(main())
