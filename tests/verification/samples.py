"""Small data sets in nnU-Net's raw format without a fault: MRI of two channels, and CT."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from tests.dataset_conversion.volumes import ct_image, image_of, mask, save, scalar_image

TRAIN = ("P1_a", "P1_b", "P2_a", "P3_a", "P4_a", "P5_a")
TEST = ("P8_a", "P9_a")
FOLDS = [
    {"train": ["P3_a", "P4_a", "P5_a"], "val": ["P1_a", "P1_b", "P2_a"]},
    {"train": ["P1_a", "P1_b", "P2_a"], "val": ["P3_a", "P4_a", "P5_a"]},
]


def write_mri(folder: Path, ending: str = ".nii.gz") -> Path:
    """Six training scans of five patients, and two test scans; the lesion is bright in both channels."""
    for seed, case in enumerate((*TRAIN, *TEST)):
        part = "Ts" if case in TEST else "Tr"
        for channel in range(2):
            array = scalar_image(10 * seed + channel) / 10 + 200 * mask(seed)
            save(image_of(array.astype(np.float32)), folder / f"images{part}" / f"{case}_{channel:04d}{ending}")
        if case in TRAIN:
            save(image_of(mask(seed)), folder / "labelsTr" / f"{case}{ending}")
    write_json(folder / "dataset.json", describe({"0": "FLAIR", "1": "T1"}, ending))
    write_json(folder / "splits_final.json", FOLDS)
    return folder


def write_ct(folder: Path) -> Path:
    """The same with one channel, soft tissue in fat and air."""
    for seed, case in enumerate((*TRAIN, *TEST)):
        part = "Ts" if case in TEST else "Tr"
        save(image_of(ct_image(seed, mask(seed))), folder / f"images{part}" / f"{case}_0000.nii.gz")
        if case in TRAIN:
            save(image_of(mask(seed)), folder / "labelsTr" / f"{case}.nii.gz")
    write_json(folder / "dataset.json", describe({"0": "CT"}, ".nii.gz"))
    write_json(folder / "splits_final.json", FOLDS)
    return folder


def describe(channels: dict[str, str], ending: str) -> dict:
    labels = {"background": 0, "lesion": 1}
    return {"channel_names": channels, "labels": labels, "numTraining": len(TRAIN), "file_ending": ending}


def write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content))


def change_json(file: Path, **entries: object) -> None:
    """Replace entries of dataset.json."""
    write_json(file, {**json.loads(file.read_text()), **entries})


def change(file: Path, function: Callable[[sitk.Image], sitk.Image]) -> None:
    """Rewrite an image."""
    save(function(sitk.ReadImage(str(file))), file)


def change_voxels(file: Path, function: Callable[[np.ndarray], np.ndarray]) -> None:
    """Rewrite an image's voxels on its grid."""

    def apply(image: sitk.Image) -> sitk.Image:
        changed = sitk.GetImageFromArray(np.ascontiguousarray(function(sitk.GetArrayFromImage(image))))
        changed.CopyInformation(image)
        return changed

    change(file, apply)
