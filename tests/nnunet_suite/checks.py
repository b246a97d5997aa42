"""What each of nnU-Net's commands must have written; a check that fails raises `OutcomeError`."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import SimpleITK as sitk


class OutcomeError(AssertionError):
    """A command ended well, and what it wrote is wrong."""


def require(condition: object, message: str) -> None:
    if not condition:
        raise OutcomeError(message)


def check_segmentations(
    folder: Path, references: dict[str, Path], values: Collection[int], probabilities: bool = False
) -> set[int]:
    """Check that a folder holds the segmentations of these cases and no others, on the grids of the images.

    Args:
        references: case -> an image on the grid that its segmentation must have.
        values: those that segmentations may hold.
        probabilities: whether nnU-Net was asked for them, for ensembles.

    Returns:
        The values that occur.
    """
    found = {file.name.removesuffix(".nii.gz") for file in folder.glob("*.nii.gz")}
    require(found == set(references), f"{folder} has {sorted(found)} instead of {sorted(references)}")
    occurring: set[int] = set()
    for case, reference in references.items():
        segmentation, image = sitk.ReadImage(str(folder / f"{case}.nii.gz")), sitk.ReadImage(str(reference))
        require(grid(segmentation) == grid(image), f"{folder}/{case}: {grid(segmentation)} instead of {grid(image)}")
        occurring |= set(np.unique(sitk.GetArrayViewFromImage(segmentation)).tolist())
        require(not probabilities or (folder / f"{case}.npz").is_file(), f"{folder}/{case} has no probabilities")
    require(occurring <= set(values), f"{folder} has the values {sorted(occurring)}, allowed are {sorted(values)}")
    return occurring


def grid(image: sitk.Image) -> tuple[tuple[float, ...], ...]:
    """Return size, spacing, origin and direction, rounded to the accuracy of a NIfTI header."""
    geometry = (image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    return tuple(tuple(round(number, 3) + 0.0 for number in part) for part in geometry)


def check_summary(file: Path, cases: Iterable[str], classes: Collection[str]) -> float:
    """Check that nnU-Net's evaluation covers all cases and classes; return the mean Dice of the foreground."""
    require(file.is_file(), f"{file} is absent")
    summary = json.loads(file.read_text())
    evaluated = sorted(
        Path(case["prediction_file"]).name.removesuffix(".nii.gz") for case in summary["metric_per_case"]
    )
    require(evaluated == sorted(cases), f"{file} evaluates {evaluated} instead of {sorted(cases)}")
    require(set(summary["mean"]) == set(classes), f"{file} has {sorted(summary['mean'])}, not {sorted(classes)}")
    dice = float(summary["foreground_mean"]["Dice"])
    require(math.isfinite(dice), f"{file}: the mean Dice is {dice}")
    return dice


def read_segmentations(folder: Path) -> dict[str, np.ndarray]:
    """Return the voxels of all segmentations of a folder."""
    return {file.name: sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in sorted(folder.glob("*.nii.gz"))}


def check_same(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> None:
    """Check that a second validation gives the segmentations of the first."""
    require(before.keys() == after.keys(), f"{sorted(after)} instead of {sorted(before)}")
    different = [name for name in before if not np.array_equal(before[name], after[name])]
    require(not different, f"validating again gives other segmentations of {different}")


def check_best(information: dict, models: Collection[str], selected_from: Collection[str]) -> None:
    """Check nnU-Net's choice of the best configuration: all models and all pairs of them were compared.

    Args:
        information: nnU-Net's `inference_information.json`.
        models: folder names of the trained models.
        selected_from: the configurations.
    """
    results = information["all_results"]
    pairs = len(models) * (len(models) - 1) // 2
    ensembles = [name for name in results if name.startswith("ensemble___")]
    require(set(models) <= set(results), f"compared {sorted(results)}, which lacks some of {sorted(models)}")
    require(len(ensembles) == pairs, f"{len(ensembles)} ensembles instead of {pairs}: {ensembles}")
    best = information["best_model_or_ensemble"]
    chosen = [model["configuration"] for model in best["selected_model_or_models"]]
    require(chosen and set(chosen) <= set(selected_from), f"the best configuration is {chosen}")
    require(best["result_on_crossval_pre_pp"] == max(results.values()), f"not the best of {results}: {best}")
