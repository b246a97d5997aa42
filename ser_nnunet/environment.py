"""`ser-nnunet env`: the line that lets nnU-Net find SER's trainers."""

from __future__ import annotations

import argparse
import os
import shlex
from importlib.util import find_spec
from pathlib import Path

EXTERNAL_TRAINERS = "nnUNet_extTrainer"


def trainers_folder() -> Path:
    """Return the folder of the trainers, in a checkout or in site-packages."""
    spec = find_spec("ser_nnunet.trainers")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("ser_nnunet is installed without its trainers: reinstall it with pip")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def with_trainers(current: str | None) -> str:
    """Return the variable's value with our folder in it, behind what is there already."""
    folders = [folder for folder in (current or "").split(os.pathsep) if folder.strip()]
    own = trainers_folder()
    if own not in [Path(folder).expanduser().resolve() for folder in folders]:
        folders.append(str(own))
    return os.pathsep.join(folders)


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
