"""`ser-nnunet check`: is everything in place for training, and how to fix what is missing."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.metadata import requires, version

from packaging.requirements import Requirement

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import PREPROCESSED, RAW, RESULTS, nnunet_folder
from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, find_trainer, is_trainer, similar_trainers, trainers_folder
from ser_nnunet.utils.variables import SAM_CHECKPOINT, TEACHER

OK, MISSING, NOTE = "ok", "missing", "note"
PACKAGES = ("nnunetv2", "torch", "torchvision", "batchgenerators", "SimpleITK", "numpy")
IMPORTED_AS = {"segment-anything": "segment_anything"}
PREDICT, TRAIN, GUIDED = "predict", "train without SAM", "train guided by SAM"
COMMANDS = {
    PREDICT: "nnUNetv2_predict -i IMAGES -o MASKS -d DATASET_ID -c 2d -f 0 -tr SERTrainerNoSAM",
    TRAIN: "nnUNetv2_train DATASET_ID 2d 0 -tr SERTrainerNoSAM",
    GUIDED: "nnUNetv2_train DATASET_ID 2d 0 -tr SERTrainer",
}
"""What can be done when nothing is missing, and how."""


@dataclass(frozen=True)
class Finding:
    """One row of the table.

    Attributes:
        subject: what was looked for.
        state: `ok`, `missing` or `note`.
        found: what was found.
        remedy: how to fix what is missing.
        purposes: what needs it, out of `COMMANDS`.
    """

    subject: str
    state: str
    found: str
    remedy: str = ""
    purposes: tuple[str, ...] = (PREDICT, TRAIN, GUIDED)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the trainer to check for."""
    parser.description = "Is everything in place for training and prediction? Exit status 1 if no training could start."
    parser.add_argument("-tr", metavar="TRAINER", help="check what this trainer needs, and nothing else")


def run(args: argparse.Namespace) -> int:
    """Print every finding as it comes, then what can be done; return 1 if the training could not start, else 0."""
    subjects = [
        *PACKAGES,
        "segment-anything",
        SAM_CHECKPOINT,
        PREPROCESSED,
        f"nnU-Net finds {args.tr or 'the trainers'}",
    ]
    width, findings = max(map(len, subjects)), []
    for finding in examine_trainer(args.tr) if args.tr else examine_all():
        print(f"{finding.subject:<{width}}  {finding.state:<7}  {finding.found}", flush=True)
        findings.append(finding)
    device = "" if any(finding.subject == "GPU" and finding.state == OK for finding in findings) else " -device cpu"
    print()
    if not args.tr:
        return summarize(findings, device)
    missing = [finding for finding in findings if finding.state == MISSING]
    if missing:
        print(f"{args.tr} could not start: {len(missing)} missing. How to fix it:")
        print("\n".join(f"  {finding.subject}: {finding.remedy}" for finding in missing))
    else:
        print(f"{args.tr} can start: nnUNetv2_train DATASET_ID 2d 0 -tr {args.tr}{device}")
    return 1 if missing else 0


def summarize(findings: list[Finding], device: str) -> int:
    """Print for every purpose its command or what it lacks; return 1 if training without SAM lacks something."""
    width, status = max(map(len, COMMANDS)), 0
    for purpose, command in COMMANDS.items():
        missing = [finding for finding in findings if finding.state == MISSING and purpose in finding.purposes]
        print(f"can {purpose:<{width}}  {'no' if missing else f'yes  {command}{device}'}")
        print("".join(f"  {finding.subject}: {finding.remedy}\n" for finding in missing), end="")
        status = 1 if missing and purpose == TRAIN else status
    return status


def examine_all() -> Iterator[Finding]:
    """Yield all findings for training with and without SAM, and for prediction."""
    yield from examine_installation()
    yield check_raw_folder()
    yield check_folder(PREPROCESSED, purposes=(TRAIN, GUIDED), written=True)
    yield check_folder(RESULTS, written=True)
    finding = check_trainer("SERTrainerNoSAM")[0]
    names = sorted(
        file.stem for file in trainers_folder().glob("*Trainer*.py") if not file.stem.endswith(("Demo", "epochs"))
    )
    found = ", ".join(names) if finding.state == OK else finding.found
    yield replace(finding, subject="nnU-Net finds the trainers", found=found, purposes=(TRAIN, GUIDED))
    for each in (check_package("segment-anything"), check_sam_checkpoint()):
        yield replace(each, purposes=(GUIDED,))
    yield check_gpu()


def examine_trainer(trainer: str) -> Iterator[Finding]:
    """Yield all findings for a training with `trainer`."""
    yield from examine_installation()
    yield check_raw_folder()
    yield check_folder(PREPROCESSED, written=True)
    yield check_folder(RESULTS, written=True)
    finding, guided, taught = check_trainer(trainer)
    yield finding
    if guided:
        yield check_package("segment-anything")
        yield check_sam_checkpoint()
    if taught:
        yield check_teacher()
    yield check_gpu()


def examine_installation() -> Iterator[Finding]:
    """Yield Python's version and the packages that every purpose needs."""
    yield Finding("Python", OK, f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}")
    for package in PACKAGES:
        yield check_package(package)


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


def check_folder(variable: str, purposes: tuple[str, ...] = tuple(COMMANDS), written: bool = False) -> Finding:
    """Look for one of nnU-Net's folders.

    Args:
        variable: its environment variable.
        purposes: what needs it.
        written: whether a training writes into it.
    """
    finding = partial(Finding, variable, purposes=purposes)
    folder, choose = nnunet_folder(variable), f"export {variable}=/path/to/{variable} && mkdir -p ${variable}"
    if folder is None:
        return finding(MISSING, "not set", choose)
    if not folder.is_dir():
        return finding(MISSING, f"{folder} does not exist", f"mkdir -p {folder}")
    free = shutil.disk_usage(folder).free
    if written and (free == 0 or not os.access(folder, os.W_OK)):
        return finding(MISSING, f"{folder} can't be written: {'no space left' if free == 0 else 'read-only'}", choose)
    return finding(OK, f"{folder} ({free / 1e9:.0f} GB free)")


def check_raw_folder() -> Finding:
    """Look for nnUNet_raw, which a training does not read, but what comes before it does."""
    finding = check_folder(RAW)
    if finding.state == OK:
        return finding
    use = "converting, planning and preprocessing need it, training and prediction do not"
    return replace(finding, state=NOTE, found=f"{finding.found}: {use}")


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
        reason, similar = "not found", ", ".join(similar_trainers(name))
        if not is_trainer(name):
            reason = "there is no trainer of this name"
            own = f"if it is your own, add its folder to {EXTERNAL_TRAINERS}"
            remedy = f"is it misspelt? There are {similar}" if similar else own
        reason += f", {EXTERNAL_TRAINERS}={os.environ.get(EXTERNAL_TRAINERS, '')}"
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
    busy = "" if "OMP_WAIT_POLICY" in os.environ else "; beside other work, first export OMP_WAIT_POLICY=PASSIVE"
    return Finding("GPU", NOTE, f"none: train with -device cpu (slower), {os.cpu_count()} cores{busy}")


def first_line(error: Exception) -> str:
    """Return an unexpected error's type and the first line of its message."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
