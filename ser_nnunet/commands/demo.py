"""`ser-nnunet demo`: simulate, convert, plan, train, predict, evaluate, with the commands that a user would type."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ser_nnunet.errors import UserError

if TYPE_CHECKING:
    from ser_nnunet.demo.command_runner import Steps
    from ser_nnunet.demo.workspace import Workspace

DATASET_ID = "777"
DATASET_NAME = "MSPhantom"
TRAINER = "SERTrainerDemo"
CONFIGURATION = "2d"

MEMORY_TARGET = "0.2"
"""GB that nnU-Net plans for: batches of 16 small slices instead of 54, many quick steps in a CPU's few minutes."""

EXPECTED_DICE = 0.4
"""Below this the network has not learned what it should have."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the command's parser."""
    folder = "where everything goes (default: ser_nnunet_demo); an earlier demo there is replaced"
    parser.add_argument("--folder", type=Path, default=Path("ser_nnunet_demo"), metavar="DIR", help=folder)
    patients = "simulated training patients (default: 12; some have several scans)"
    parser.add_argument("--patients", type=int, default=12, metavar="N", help=patients)
    test_patients = "simulated test patients (default: 4)"
    parser.add_argument("--test-patients", type=int, default=4, metavar="N", help=test_patients)
    parser.add_argument("--spacing", type=float, default=2.5, metavar="MM", help="voxel size in mm (default: 2.5)")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation (default: 0)")
    device = "to train and predict on (default: cuda where there is one)"
    parser.add_argument("--device", choices=("cpu", "cuda"), help=device)


def run(args: argparse.Namespace) -> int:
    """Run the demo; return 1 if the network didn't learn. Raises `UserError` that names the step that failed."""
    from ser_nnunet.demo.command_runner import Steps
    from ser_nnunet.demo.workspace import Workspace

    _check(args)
    place = Workspace(args.folder.resolve())
    place.prepare()
    device = args.device or _device()
    print(_introduction(place, device))
    steps = Steps(place.logs, total=8)
    try:
        _make_data(steps, place, args)
        _learn(steps, place, device)
        _predict(steps, place, device)
        dice = _evaluate(steps, place)
    except KeyboardInterrupt:
        print("\ninterrupted; the next demo in this folder starts anew", file=sys.stderr)
        return 130
    print(_conclusion(place, steps, dice))
    return 0 if dice >= EXPECTED_DICE else 1


def _make_data(steps: Steps, place: Workspace, args: argparse.Namespace) -> None:
    from ser_nnunet.demo.phantom import write_cohort
    from ser_nnunet.sam.dummy_sam import write_dummy_sam

    def simulate() -> None:
        write_cohort(place.cohort, args.patients, args.test_patients, args.spacing, args.seed)
        write_dummy_sam(place.sam, args.seed)

    steps.call("simulate a download of MSLesSeg, and a SAM of toy size", simulate)
    # fmt: off
    steps.command("convert the download to nnU-Net's format (partial: MSLesSeg has more patients)", [
        "ser-nnunet", "convert", "mslesseg", str(place.cohort), "-d", DATASET_ID, "--name", DATASET_NAME,
        "--allow-partial",
    ], place.environment())
    # fmt: on
    _say_simulated(_raw(place) / "dataset.json")


def _learn(steps: Steps, place: Workspace, device: str) -> None:
    # fmt: off
    steps.command("let nnU-Net plan (for small batches, as a CPU likes them) and preprocess", [
        "nnUNetv2_plan_and_preprocess", "-d", DATASET_ID, "-c", CONFIGURATION, "--verify_dataset_integrity",
        "-gpu_memory_target", MEMORY_TARGET, "-npfp", "2", "-np", "2",
    ], place.environment())
    steps.command("train: SAM guides the first half and is gone in the second", [
        "nnUNetv2_train", DATASET_ID, CONFIGURATION, "0", "-tr", TRAINER, "-device", device,
    ], {**place.environment(), "nnUNet_n_proc_DA": "0"})
    # fmt: on


def _predict(steps: Steps, place: Workspace, device: str) -> None:
    environment = place.without_sam()
    steps.call("block segment_anything for the prediction", lambda: _prove_blocked(environment))
    # fmt: off
    steps.command("predict the test patients without SAM", [
        "nnUNetv2_predict", "-i", str(_raw(place) / "imagesTs"), "-o", str(place.predictions), "-d", DATASET_ID,
        "-c", CONFIGURATION, "-f", "0", "-tr", TRAINER, "-device", device, "-npp", "0", "-nps", "0",
    ], environment)
    # fmt: on


def _evaluate(steps: Steps, place: Workspace) -> float:
    """Evaluate, draw the picture, and return the mean lesion Dice of the test patients."""
    from ser_nnunet.evaluation.report import draw_cases
    from ser_nnunet.evaluation.result import Evaluation

    raw = _raw(place)
    # fmt: off
    steps.command("compare with the truth", [
        "ser-nnunet", "evaluate", "-ref", str(raw / "labelsTs"), "-pred", str(place.predictions),
        "--images", str(raw / "imagesTs"), "-o", str(place.evaluation),
    ], place.environment())
    # fmt: on
    evaluation = Evaluation.read(place.evaluation)
    steps.call(
        "draw the picture: FLAIR, truth in red, prediction in blue", lambda: draw_cases(evaluation, place.picture)
    )
    return evaluation.mean("Dice", "lesion")


def _check(args: argparse.Namespace) -> None:
    """Tell everything that would stop the demo before it writes anything."""
    from importlib.util import find_spec

    needed = {"nilearn": "demo", "segment_anything": "sam", "torchvision": "sam"}
    missing = sorted({extra for module, extra in needed.items() if find_spec(module) is None})
    problems = []
    if missing:
        problems.append(f"packages are missing: pip install 'ser-nnunet[{','.join(missing)}]'")
    if args.patients < 5:
        problems.append(f"--patients {args.patients}: nnU-Net's five folds need at least 5 patients")
    if args.test_patients < 1:
        problems.append(f"--test-patients {args.test_patients}: at least 1 is needed to evaluate")
    if not 1.0 <= args.spacing <= 4.0:
        problems.append(f"--spacing {args.spacing:g}: expected 1 to 4 mm")
    if problems:
        raise UserError("the demo cannot start:\n" + "\n".join(f"  {problem}" for problem in problems))


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _raw(place: Workspace) -> Path:
    return place.raw / f"Dataset{DATASET_ID}_{DATASET_NAME}"


def _say_simulated(dataset_json: Path) -> None:
    """Put into dataset.json that these are no MSLesSeg images: the converter took them for some, as it should."""
    content = json.loads(dataset_json.read_text(encoding="utf-8"))
    content["description"] = "SIMULATED by `ser-nnunet demo` in MSLesSeg's layout from the MNI152 template; no patients"
    content["licence"] = "no images of MSLesSeg are contained; anatomy: ICBM 152 2009 template, McGill University"
    for key in ("citation", "reference", "release"):
        content.pop(key, None)
    dataset_json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"(The converter took the phantom for MSLesSeg, as it should; the demo put SIMULATED into {dataset_json}.)")


def _prove_blocked(environment: dict[str, str]) -> None:
    print(f"PYTHONPATH={environment['PYTHONPATH']} python -c 'import segment_anything'")
    result = subprocess.run(
        [sys.executable, "-c", "import segment_anything"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    if result.returncode == 0:
        raise UserError("segment_anything could still be imported where it should have been blocked")
    print((result.stderr.strip().splitlines() or ["failed"])[-1])


def _introduction(place: Workspace, device: str) -> str:
    return (
        f"Everything goes to {place.folder}, your own nnU-Net folders are not touched.\n"
        "The images are SIMULATED and the SAM is a TOY with random weights that carries no knowledge: the demo shows\n"
        "that every step works, not how well the method does. Figures from it mean nothing for real scans.\n"
        f"Training runs on: {device}. To repeat a command later: source {place.environment_file}"
    )


def _conclusion(place: Workspace, steps: Steps, dice: float) -> str:
    total = sum(seconds for _, seconds in steps.times)
    times = "\n".join(f"  {seconds:5.0f} s  {title}" for title, seconds in steps.times)
    model = next(place.results.glob("*/*"), place.results)
    verdict = (
        "it learned"
        if dice >= EXPECTED_DICE
        else f"it should be above {EXPECTED_DICE}: something is wrong, or the cohort was too small (see the logs)"
    )
    return (
        f"\nDone in {total / 60:.1f} minutes:\n{times}\n\n"
        f"Lesion Dice of the test patients: {dice:.2f} ({verdict}).\n"
        "Simulated images, toy SAM: that says nothing about real scans.\n\n"
        f"picture      {place.picture}\nevaluation   {place.evaluation}\npredictions  {place.predictions}\n"
        f"model        {model}\nraw data     {_raw(place)}\nlogs         {place.logs}"
    )
