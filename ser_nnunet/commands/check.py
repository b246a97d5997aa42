"""`ser-nnunet check`: is everything in place for training, and which command mends what is missing?"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS

OK, MISSING, NOTE = "ok", "missing", "note"
PACKAGES = ("nnunetv2", "torch", "torchvision", "batchgenerators", "SimpleITK", "numpy")
IMPORTED_AS = {"segment-anything": "segment_anything"}


@dataclass(frozen=True)
class Finding:
    """One row of the table: what was looked for, its state (`ok`, `missing`, `note`), what was found, the remedy."""

    subject: str
    state: str
    found: str
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the trainer that shall be able to start."""
    parser.description = "Is everything in place for training? Exit status 1 if it could not start."
    parser.add_argument("-tr", default="SERTrainer", help="the trainer to check for (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Print the table; return 1 if training could not start, else 0."""
    findings = list(examine(args.tr))
    print(table(findings))
    missing = [finding for finding in findings if finding.state == MISSING]
    if missing:
        print(f"\n{args.tr} could not start: {len(missing)} missing. What mends it:")
        print("\n".join(f"  {finding.subject}: {finding.remedy}" for finding in missing))
    else:
        on_gpu = any(finding.subject == "GPU" and finding.state == OK for finding in findings)
        print(f"\n{args.tr} can start: nnUNetv2_train DATASET_ID 2d 0 -tr {args.tr}{'' if on_gpu else ' -device cpu'}")
    return 1 if missing else 0


def examine(trainer: str) -> Iterator[Finding]:
    """Yield all findings for a training with `trainer`."""
    yield Finding("Python", OK, f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}")
    for package in PACKAGES:
        yield _package(package)
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        yield _folder(variable)
    yield _trainer(trainer)
    if _is_guided(trainer):
        yield _package("segment-anything")
        yield _checkpoint()
    yield _device()


def _package(name: str) -> Finding:
    """Import the package (a torchvision that doesn't fit torch shows only then) and compare its version with ours."""
    wanted = _requirement(name)
    remedy = f"pip install '{wanted}'" if name != "torchvision" else "pip install --upgrade torch torchvision (a pair)"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import_module(IMPORTED_AS.get(name, name))
        found = version(name)
    except Exception as error:
        return Finding(name, MISSING, f"{type(error).__name__}: {error}".splitlines()[0], remedy)
    if wanted.specifier.contains(found, prereleases=True):
        return Finding(name, OK, found)
    return Finding(name, MISSING, f"{found}, but {wanted.specifier} is needed", remedy)


def _requirement(name: str) -> Requirement:
    """Return what this package's own metadata asks of another (nothing in particular where it doesn't)."""
    for line in requires("ser-nnunet") or []:
        requirement = Requirement(line)
        if requirement.name.lower() == name.lower():
            requirement.marker = None
            return requirement
    return Requirement(name)


def _folder(variable: str) -> Finding:
    value = os.environ.get(variable)
    remedy = f"export {variable}=/path/to/{variable} && mkdir -p ${variable}"
    if not value:
        return Finding(variable, MISSING, "not set", remedy)
    if not Path(value).is_dir():
        return Finding(variable, MISSING, f"{value} does not exist", f"mkdir -p {value}")
    free = shutil.disk_usage(value).free / 1e9
    return Finding(variable, OK, f"{value} ({free:.0f} GB free)")


def _trainer(name: str) -> Finding:
    """Search as nnU-Net does; its own output is kept out of the table."""

    def search() -> str:
        try:
            return str(_find(name).__module__)
        except RuntimeError:  # nnU-Net's sentence about it is long
            raise UserError(f"not found, {EXTERNAL_TRAINERS}={os.environ.get(EXTERNAL_TRAINERS, '')}") from None

    remedy = 'eval "$(ser-nnunet env)"   (and add this line to your shell\'s start-up file)'
    return _attempt(f"nnU-Net finds {name}", search, remedy)


def _find(name: str) -> type:
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    with contextlib.redirect_stdout(io.StringIO()):
        return recursive_find_trainer_class_by_name(name)


def _is_guided(name: str) -> bool:
    """Ask the class; one that can't be found yet is taken for guided unless its name denies it."""
    try:
        return getattr(_find(name), "guided_fraction", 0) > 0
    except Exception:
        return name.startswith("SER") and "NoSAM" not in name


def _checkpoint() -> Finding:
    def read() -> str:
        from ser_nnunet.sam.checkpoint import WHERE_TO_GET_IT, inspect_checkpoint

        path = os.environ.get("SER_SAM_CHECKPOINT")
        if not path:
            raise UserError(f"not set. {WHERE_TO_GET_IT}")
        sizes, count = inspect_checkpoint(path)
        return (
            f"{path} ({count / 1e6:.1f} M parameters, {sizes.depth} blocks of {sizes.embed_dim}, {sizes.image_size} px)"
        )

    remedy = "export SER_SAM_CHECKPOINT=/path/to/sam_vit_b_01ec64.pth, or train with -tr SERTrainerNoSAM"
    return _attempt("SER_SAM_CHECKPOINT", read, remedy)


def _attempt(subject: str, action: Callable[[], str], remedy: str) -> Finding:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return Finding(subject, OK, action())
    except UserError as error:
        return Finding(subject, MISSING, str(error), remedy)
    except Exception as error:
        return Finding(subject, MISSING, f"{type(error).__name__}: {error}".splitlines()[0], remedy)


def _device() -> Finding:
    try:
        import torch
    except Exception:
        return Finding("GPU", NOTE, "unknown, torch can't be imported")
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return Finding("GPU", OK, f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    return Finding("GPU", NOTE, f"none: train with -device cpu (slower), {os.cpu_count()} cores")


def table(findings: list[Finding]) -> str:
    """Return the findings as aligned text."""
    width = max(len(finding.subject) for finding in findings)
    return "\n".join(f"{finding.subject:<{width}}  {finding.state:<7}  {finding.found}" for finding in findings)
