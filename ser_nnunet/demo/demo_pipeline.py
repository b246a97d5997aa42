"""The steps of the demo: simulate, convert, plan, train, predict without SAM, evaluate, draw.

Every step but the simulation and the figure is a command as a user would type it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ser_nnunet.demo.command_runner import StepRunner
from ser_nnunet.demo.demo_settings import DemoSettings, check_settings
from ser_nnunet.demo.phantom import write_cohort
from ser_nnunet.demo.workspace import DATASET_ID, DATASET_NAME, TRAINER, Workspace
from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.report.case_figures import draw_cases
from ser_nnunet.evaluation.result import Evaluation
from ser_nnunet.sam.dummy_sam import write_dummy_sam
from ser_nnunet.utils.files import read_json, write_json

MEMORY_TARGETS = {"2d": "0.2", "3d_fullres": "1.0"}
"""GB that nnU-Net plans for: small batches or patches, so that a CPU makes many steps in minutes."""

EXPECTED_DICE = 0.4
"""A mean lesion Dice below this value means that the training failed."""


def run_demo(settings: DemoSettings) -> float:
    """Run all steps; return the mean lesion Dice of the test patients, which should reach `EXPECTED_DICE`.

    Raises:
        UserError: a setting, a missing package or the folder prevents the demo, or a step failed (and which).
    """
    check_settings(settings)
    workspace = Workspace(settings.folder.resolve())
    workspace.claim()
    with workspace.lock():
        workspace.prepare()
        device = settings.device or _default_device()
        print(
            f"Everything goes to {workspace.folder}, your own nnU-Net folders are not touched.\n"
            "The images are SIMULATED and the SAM is a DUMMY with random weights that carries no knowledge: the demo\n"
            "shows that every step works, not how well the method does. Its results mean nothing for real scans.\n"
            f"Training runs on: {device}. To repeat a command later: source {workspace.environment_file}"
        )
        runner = StepRunner(workspace.logs, total=8)
        simulate_and_convert(runner, workspace, settings)
        plan_and_train(runner, workspace, settings.configuration, device)
        predict_without_sam(runner, workspace, settings.configuration, device)
        dice = evaluate_and_draw(runner, workspace)
        print_summary(runner, workspace, dice)
        return dice


def _default_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def simulate_and_convert(runner: StepRunner, workspace: Workspace, settings: DemoSettings) -> None:
    """Write the cohort and the dummy SAM, and convert the cohort to nnU-Net's format."""

    def simulate() -> None:
        write_cohort(workspace.cohort, settings.patients, settings.test_patients, settings.spacing, settings.seed)
        write_dummy_sam(workspace.sam, settings.seed)

    runner.run_function("simulate a download of MSLesSeg, and a dummy SAM", simulate)
    # fmt: off
    runner.run_command("convert the download to nnU-Net's format (partial: MSLesSeg has more patients)", [
        "ser-nnunet", "convert", "mslesseg", str(workspace.cohort), "-d", DATASET_ID, "--name", DATASET_NAME,
        "--allow-partial",
    ], workspace.environment())
    # fmt: on
    mark_as_simulated(workspace.raw_dataset / "dataset.json")


def mark_as_simulated(dataset_json: Path) -> None:
    """Replace the description, licence and citation of MSLesSeg, which the converter wrote, in dataset.json."""
    content = read_json(dataset_json)
    content["description"] = "SIMULATED by `ser-nnunet demo` in MSLesSeg's layout from the MNI152 template; no patients"
    content["licence"] = "contains no images of MSLesSeg; anatomy: ICBM 152 2009 template, McGill University"
    for key in ("citation", "reference", "release"):
        content.pop(key, None)
    write_json(dataset_json, content, indent=2)
    print(f"(The converter cannot tell the phantom from MSLesSeg; the demo wrote SIMULATED into {dataset_json}.)")


def plan_and_train(runner: StepRunner, workspace: Workspace, configuration: str, device: str) -> None:
    """Let nnU-Net plan, preprocess and train one fold."""
    # fmt: off
    runner.run_command("let nnU-Net plan (small batches, for a CPU) and preprocess", [
        "nnUNetv2_plan_and_preprocess", "-d", DATASET_ID, "-c", configuration, "--verify_dataset_integrity",
        "-gpu_memory_target", MEMORY_TARGETS[configuration], "-npfp", "2", "-np", "2",
    ], workspace.environment())
    runner.run_command("train: SAM guides the first half of the epochs and is released for the second", [
        "nnUNetv2_train", DATASET_ID, configuration, "0", "-tr", TRAINER, "-device", device,
    ], {**workspace.environment(), "nnUNet_n_proc_DA": "0"})
    # fmt: on


def predict_without_sam(runner: StepRunner, workspace: Workspace, configuration: str, device: str) -> None:
    """Predict the test patients in a process that cannot import segment_anything."""
    environment = workspace.environment_without_sam()
    runner.run_function("block segment_anything for the prediction", lambda: _check_blocked(environment))
    # fmt: off
    runner.run_command("predict the test patients without SAM", [
        "nnUNetv2_predict", "-i", str(workspace.raw_dataset / "imagesTs"), "-o", str(workspace.predictions),
        "-d", DATASET_ID, "-c", configuration, "-f", "0", "-tr", TRAINER, "-device", device, "-npp", "0", "-nps", "0",
    ], environment)
    # fmt: on


def _check_blocked(environment: dict[str, str]) -> None:
    print(f"PYTHONPATH={environment['PYTHONPATH']} python -c 'import segment_anything'")
    result = subprocess.run(
        [sys.executable, "-c", "import segment_anything"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    if result.returncode == 0:
        raise UserError("segment_anything could still be imported although the demo blocks it for the prediction")
    print((result.stderr.strip().splitlines() or ["failed"])[-1])


def evaluate_and_draw(runner: StepRunner, workspace: Workspace) -> float:
    """Evaluate, draw the figure, and return the mean lesion Dice of the test patients."""
    # fmt: off
    runner.run_command("compare with the reference segmentations", [
        "ser-nnunet", "evaluate", "-ref", str(workspace.raw_dataset / "labelsTs"), "-pred", str(workspace.predictions),
        "--images", str(workspace.raw_dataset / "imagesTs"), "-o", str(workspace.evaluation),
    ], workspace.environment())
    # fmt: on
    evaluation = Evaluation.read(workspace.evaluation)
    runner.run_function(
        "draw the picture: FLAIR, reference in red, prediction in blue",
        lambda: draw_cases(evaluation, workspace.picture),
    )
    return evaluation.mean("Dice", "lesion")


def print_summary(runner: StepRunner, workspace: Workspace, dice: float) -> None:
    """Print the time of each step, the Dice with a verdict, and where everything is."""
    total = sum(seconds for _, seconds in runner.times)
    times = "\n".join(f"  {seconds:5.0f} s  {title}" for title, seconds in runner.times)
    model = next((workspace.results / workspace.raw_dataset.name).glob(f"{TRAINER}__*"), workspace.results)
    verdict = (
        "it learned"
        if dice >= EXPECTED_DICE
        else f"it should be above {EXPECTED_DICE}: something is wrong, or the cohort was too small (see the logs)"
    )
    print(
        f"\nDone in {total / 60:.1f} minutes:\n{times}\n\n"
        f"Lesion Dice of the test patients: {dice:.2f} ({verdict}).\n"
        "Simulated images, dummy SAM: this says nothing about real scans.\n\n"
        f"picture      {workspace.picture}\nevaluation   {workspace.evaluation}\n"
        f"predictions  {workspace.predictions}\nmodel        {model}\n"
        f"raw data     {workspace.raw_dataset}\nlogs         {workspace.logs}"
    )
