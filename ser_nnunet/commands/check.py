"""`ser-nnunet check`: is everything in place for training, and how to fix what is missing."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import requires, version

from packaging.requirements import Requirement

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import PREPROCESSED, RAW, RESULTS, nnunet_folder
from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, find_trainer
from ser_nnunet.utils.variables import SAM_CHECKPOINT, TEACHER

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
    """Add the trainer to check for."""
    parser.description = "Is everything in place for training? Exit status 1 if it could not start."
    parser.add_argument("-tr", default="SERTrainer", help="the trainer to check for (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Print the table; return 1 if training could not start, else 0."""
    findings = list(examine(args.tr))
    print(table(findings))
    missing = [finding for finding in findings if finding.state == MISSING]
    if missing:
        print(f"\n{args.tr} could not start: {len(missing)} missing. How to fix it:")
        print("\n".join(f"  {finding.subject}: {finding.remedy}" for finding in missing))
    else:
        on_gpu = any(finding.subject == "GPU" and finding.state == OK for finding in findings)
        print(f"\n{args.tr} can start: nnUNetv2_train DATASET_ID 2d 0 -tr {args.tr}{'' if on_gpu else ' -device cpu'}")
    return 1 if missing else 0


def examine(trainer: str) -> Iterator[Finding]:
    """Yield all findings for a training with `trainer`."""
    yield Finding("Python", OK, f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}")
    for package in PACKAGES:
        yield check_package(package)
    for variable in (RAW, PREPROCESSED, RESULTS):
        yield check_folder(variable)
    finding, guided, taught = check_trainer(trainer)
    yield finding
    if guided:
        yield check_package("segment-anything")
        yield check_sam_checkpoint()
    if taught:
        yield check_teacher()
    yield check_gpu()


def check_package(name: str) -> Finding:
    """Import the package (a torchvision that doesn't fit torch shows only then) and compare its version with ours."""
    declared = {each.name.lower(): each for each in map(Requirement, requires("ser-nnunet") or [])}
    wanted = declared.get(name.lower(), Requirement(name))
    wanted.marker = None
    remedy = f"pip install '{wanted}'" if name != "torchvision" else "pip install --upgrade torch torchvision (a pair)"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import_module(IMPORTED_AS.get(name, name))
        found = version(name)
    except Exception as error:
        return Finding(name, MISSING, first_line(error), remedy)
    if wanted.specifier.contains(found, prereleases=True):
        return Finding(name, OK, found)
    return Finding(name, MISSING, f"{found}, but {wanted.specifier} is needed", remedy)


def check_folder(variable: str) -> Finding:
    """Look for one of nnU-Net's folders."""
    folder = nnunet_folder(variable)
    if folder is None:
        return Finding(variable, MISSING, "not set", f"export {variable}=/path/to/{variable} && mkdir -p ${variable}")
    if not folder.is_dir():
        return Finding(variable, MISSING, f"{folder} does not exist", f"mkdir -p {folder}")
    return Finding(variable, OK, f"{folder} ({shutil.disk_usage(folder).free / 1e9:.0f} GB free)")


def check_trainer(name: str) -> tuple[Finding, bool, bool]:
    """Search the trainer as nnU-Net does; return the finding, whether SAM guides it, and whether it has a teacher.

    For a trainer that isn't found, this is concluded from its name if that is one of SER's, so that SAM's or the
    teacher's part is checked, too.
    """
    subject = f"nnU-Net finds {name}"
    remedy = 'eval "$(ser-nnunet env)"   (and add this line to your shell\'s start-up file)'
    try:
        trainer = find_trainer(name, as_set=True)
    except RuntimeError:  # with a long message of nnU-Net's
        reason = f"not found, {EXTERNAL_TRAINERS}={os.environ.get(EXTERNAL_TRAINERS, '')}"
    except Exception as error:
        reason = first_line(error)
    else:
        guided, taught = getattr(trainer, "guided_fraction", 0) > 0, hasattr(trainer, "distillation_weight")
        return Finding(subject, OK, trainer.__module__), guided, taught
    taught = name.startswith("SERTrainerDistill")
    guided = name.startswith("SER") and "NoSAM" not in name and not taught
    return Finding(subject, MISSING, reason, remedy), guided, taught


def check_sam_checkpoint() -> Finding:
    """Read SAM's checkpoint as thoroughly as a training does."""
    remedy = f"export {SAM_CHECKPOINT}=/path/to/sam_vit_b_01ec64.pth, or train with -tr SERTrainerNoSAM"
    try:
        from ser_nnunet.sam.checkpoint import WHERE_TO_GET_IT, inspect_checkpoint

        path = os.environ.get(SAM_CHECKPOINT)
        if not path:
            return Finding(SAM_CHECKPOINT, MISSING, f"not set. {WHERE_TO_GET_IT}", remedy)
        sizes, count = inspect_checkpoint(path)
    except UserError as error:
        return Finding(SAM_CHECKPOINT, MISSING, str(error), remedy)
    except Exception as error:
        return Finding(SAM_CHECKPOINT, MISSING, first_line(error), remedy)
    found = f"{count / 1e6:.1f} M parameters, {sizes.depth} blocks of {sizes.embed_dim}, {sizes.image_size} px"
    return Finding(SAM_CHECKPOINT, OK, f"{path} ({found})")


def check_teacher() -> Finding:
    """Read the finished folds of the teacher's model folder; whether they fit a data set is checked by a training."""
    remedy = f"export {TEACHER}=$nnUNet_results/DATASET/nnUNetTrainer__nnUNetPlans__2d (a finished training)"
    path = os.environ.get(TEACHER)
    if not path:
        return Finding(TEACHER, MISSING, "not set", remedy)
    try:
        from ser_nnunet.nnunet.trained_model import find_finished_folds, read_trained_model

        models = [read_trained_model(folder, "") for folder in find_finished_folds(path)]
        for model in models:
            model.build_network()
    except UserError as error:
        return Finding(TEACHER, MISSING, str(error), remedy)
    except Exception as error:
        return Finding(TEACHER, MISSING, first_line(error), remedy)
    folds = ", ".join(str(model.fold) for model in models)
    return Finding(TEACHER, OK, f"{path} ({models[0].trainer} on {models[0].dataset}, finished folds: {folds})")


def check_gpu() -> Finding:
    """Look for a GPU; training without one is slow, but possible."""
    try:
        import torch
    except Exception:
        return Finding("GPU", NOTE, "unknown, torch can't be imported")
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return Finding("GPU", OK, f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    return Finding("GPU", NOTE, f"none: train with -device cpu (slower), {os.cpu_count()} cores")


def first_line(error: Exception) -> str:
    """Return an unexpected error's type and the first line of its message."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def table(findings: list[Finding]) -> str:
    """Return the findings as aligned text."""
    width = max(len(finding.subject) for finding in findings)
    return "\n".join(f"{finding.subject:<{width}}  {finding.state:<7}  {finding.found}" for finding in findings)
