"""Small data sets on disk, written from arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ser_nnunet.evaluation import Settings

LABELS = {"background": 0, "anterior": 1, "posterior": 2}
REGIONS = {"background": 0, "whole": [1, 2], "posterior": [2]}
IGNORE = {"background": 0, "anterior": 1, "posterior": 2, "ignore": 3}
FAST = {"processes": 1, "progress": False}
OVERLAP = Settings(groups=("overlap",), bootstrap=100)
SPACING = (0.8, 1.0, 2.5)  # x, y, z in mm


def write_volume(file: Path, array: np.ndarray, spacing: tuple[float, ...] = SPACING, origin: float = 0.0) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin([origin] * len(spacing))
    file.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(file))


def write_cohort(
    folder: Path,
    reference: Mapping[str, np.ndarray],
    *predictions: Mapping[str, np.ndarray],
    labels: Mapping[str, object] = LABELS,
    spacing: tuple[float, ...] = SPACING,
    file_ending: str = ".nii.gz",
) -> Path:
    """Write labelsTr, pred0, pred1, ... and dataset.json; return the folder."""
    names = ["labelsTr", *(f"pred{number}" for number in range(len(predictions)))]
    for name, arrays in zip(names, [reference, *predictions], strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for case, array in arrays.items():
            write_volume(folder / name / f"{case}{file_ending}", array, spacing)
    content: dict[str, object] = {"channel_names": {"0": "MRI"}, "labels": labels, "file_ending": file_ending}
    if any(isinstance(value, list) for value in labels.values()):
        content["regions_class_order"] = [1, 2]
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def random_label_map(seed: int, values: int = 3, shape: tuple[int, int, int] = (6, 9, 11)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, values, shape).astype(np.uint8)


def random_blobs(seed: int, shape: tuple[int, ...] = (14, 18, 16)) -> np.ndarray:
    """A bool mask of a few smooth blobs."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return noise > np.quantile(noise, 0.8)
