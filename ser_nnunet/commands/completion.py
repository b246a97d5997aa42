"""`ser-nnunet completion SHELL`: print the script that completes commands and options in a shell."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from ser_nnunet.errors import UserError

SHELLS = ("bash", "zsh", "fish", "powershell", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    parser.description = (
        "Print the script that completes ser-nnunet's commands and options; bash reads it from "
        "~/.local/share/bash-completion/completions/ser-nnunet. Needs shtab: pip install 'ser-nnunet[completion]'."
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads the script")


def run(args: argparse.Namespace) -> int:
    """Print the script, and nothing else, on standard output; `args.parser` is the whole command line's parser."""
    try:
        shtab: Any = import_module("shtab")
    except ModuleNotFoundError:
        raise UserError("completion needs the package shtab: pip install 'ser-nnunet[completion]'") from None
    if args.shell not in shtab.SUPPORTED_SHELLS:
        raise UserError(f"this version of shtab knows no {args.shell}: pip install --upgrade shtab")
    complete_files(args.parser, shtab.FILE)
    print(shtab.complete(args.parser, args.shell))
    return 0


def complete_files(parser: argparse.ArgumentParser, completion: dict[str, str]) -> None:
    """Let arguments that are paths be completed by names of files, in all commands."""
    for action in parser._actions:  # argparse has no public list of its arguments
        if action.type is Path:
            action.complete = completion  # type: ignore[attr-defined]
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                complete_files(command, completion)
