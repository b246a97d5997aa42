"""One fault of a data set in nnU-Net's raw format each, and what `ser-nnunet verify` must say about it."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from tests.verification.samples import FOLDS, change, change_json, change_voxels, write_ct, write_json, write_mri

LABEL, IMAGE, SECOND, TEST_IMAGE = (
    "labelsTr/P2_a.nii.gz",
    "imagesTr/P2_a_0000.nii.gz",
    "imagesTr/P2_a_0001.nii.gz",
    "imagesTs/P9_a_0000.nii.gz",
)


class Fault(NamedTuple):
    """A fault, how it is planted into a data set, and the finding that is expected."""

    name: str
    plant: Callable[[Path], object]
    kind: str
    case: str = "P2_a"
    severity: str = "error"
    write: Callable[[Path], Path] = write_mri
    options: dict = {}


def remove(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def copy(source: str, target: str) -> Callable[[Path], object]:
    return lambda folder: shutil.copyfile(folder / source, folder / target)


def describe(**entries: object) -> Callable[[Path], None]:
    return lambda folder: change_json(folder / "dataset.json", **entries)


def split(folds: list) -> Callable[[Path], None]:
    return lambda folder: write_json(folder / "splits_final.json", folds)


def on(name: str, function: Callable[[sitk.Image], sitk.Image]) -> Callable[[Path], None]:
    return lambda folder: change(folder / name, function)


def voxels(name: str, function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda folder: change_voxels(folder / name, function)


def several(*plants: Callable[[Path], object]) -> Callable[[Path], None]:
    return lambda folder: [plant(folder) for plant in plants] and None


def with_header(**parts: object) -> Callable[[sitk.Image], sitk.Image]:
    """Replace spacing, origin or direction; a function gets the present one."""

    def apply(image: sitk.Image) -> sitk.Image:
        for part, value in parts.items():
            present = getattr(image, f"Get{part}")()
            getattr(image, f"Set{part}")(value(present) if callable(value) else value)
        return image

    return apply


def turned(image: sitk.Image) -> sitk.Image:
    """The same place in the world, x and y stored the other way round."""
    return sitk.DICOMOrient(image, "RAS")


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def spoil(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.float32)
        array[1, 2, 3] = value
        return array

    return spoil


def cut(folder: Path) -> None:
    content = (folder / IMAGE).read_bytes()
    (folder / IMAGE).write_bytes(content[: len(content) // 2])


def damage(folder: Path) -> None:
    """Change a voxel inside the compressed stream and keep the old checksum."""
    content = bytearray(gzip.decompress((folder / LABEL).read_bytes()))
    old = gzip.compress(bytes(content))
    content[-1] ^= 1
    (folder / LABEL).write_bytes(gzip.compress(bytes(content))[:-8] + old[-8:])


def other_voxels_beside(folder: Path) -> None:
    image = sitk.ReadImage(str(folder / LABEL))
    sitk.WriteImage(image * 0 + 1, str(folder / "labelsTr/P2_a.nii"))


def to_grey(array: np.ndarray) -> np.ndarray:
    return ((np.clip(array, -1000, 400) + 1000) / 1400 * 255).astype(np.int16)


def lost(*names: str) -> Callable[[Path], None]:
    header = with_header(Spacing=(1.0, 1.0, 1.0), Origin=(0.0, 0.0, 0.0))
    return several(*(on(name, header) for name in names))


CASE = (IMAGE, SECOND, LABEL)
DIVIDED = [{"train": ["P1_a", "P3_a", "P4_a", "P5_a"], "val": ["P1_b", "P2_a"]}, FOLDS[1]]
FAULTS = (
    Fault("numTraining is not the number of cases", describe(numTraining=9), "dataset.json", ""),
    Fault("label values have a gap", describe(labels={"background": 0, "lesion": 1, "scar": 3}), "dataset.json", ""),
    Fault(
        "regions_class_order in which an outer region overwrites an inner one",
        describe(labels={"background": 0, "core": 2, "whole": [1, 2]}, regions_class_order=[1, 2]),
        "dataset.json",
        "",
    ),
    Fault("a channel is missing", remove(SECOND), "missing image"),
    Fault("a channel is missing in imagesTs", remove("imagesTs/P9_a_0001.nii.gz"), "missing image", "P9_a"),
    Fault("a channel that dataset.json does not declare", copy(SECOND, "imagesTr/P2_a_0002.nii.gz"), "extra channel"),
    Fault("label without image", remove(IMAGE, SECOND), "label without image"),
    Fault("image without label", remove(LABEL), "image without label"),
    Fault("image without channel number", copy(IMAGE, "imagesTr/scan.nii.gz"), "extra file", ""),
    Fault(
        "hidden file of macOS (`._*`)",
        lambda folder: (folder / "imagesTr/._P2_a_0000.nii.gz").write_bytes(b"\0\5\x16\7"),
        "extra file",
        "",
    ),
    Fault("`.nii` beside `.nii.gz` with other voxels", other_voxels_beside, "duplicate case"),
    Fault("truncated image", cut, "unreadable"),
    Fault("damaged label (checksum)", damage, "unreadable"),
    Fault("shape of the label", on(LABEL, lambda label: label[:, :, :-1]), "geometry"),
    Fault(
        "spacing of the label (5 %)",
        on(LABEL, with_header(Spacing=lambda spacing: [each * 1.05 for each in spacing])),
        "geometry",
    ),
    Fault(
        "origin of the label (0.35 mm)",
        on(LABEL, with_header(Origin=lambda origin: [each + 0.2 for each in origin])),
        "geometry",
    ),
    Fault(
        "origin of one channel (1.7 mm)",
        on(SECOND, with_header(Origin=lambda origin: [each + 1 for each in origin])),
        "geometry",
    ),
    Fault("label stored with other axes than its image", on(LABEL, turned), "geometry"),
    Fault("one channel stored with other axes", on(SECOND, turned), "geometry"),
    Fault(
        "one patient stored with other axes",
        several(*(on(name, turned) for name in CASE)),
        "orientation",
        severity="warning",
    ),
    Fault("one patient saved without its header", lost(*CASE), "spacing", severity="warning"),
    Fault(
        "label values that are no integers", voxels(LABEL, lambda label: label * np.float32(0.5)), "non-integer label"
    ),
    Fault("undeclared label value", voxels(LABEL, lambda label: label * 7), "label value"),
    Fault("empty mask", voxels(LABEL, np.zeros_like), "empty mask"),
    Fault("NaN in an image", voxels(IMAGE, with_value(np.nan)), "NaN or Inf"),
    Fault("Inf in an image", voxels(IMAGE, with_value(np.inf)), "NaN or Inf"),
    Fault("NaN in imagesTs", voxels(TEST_IMAGE, with_value(np.nan)), "NaN or Inf", "P9_a"),
    Fault("image of one value", voxels(SECOND, lambda array: array * 0 + 5), "constant image"),
    Fault("the same image under two names", copy(IMAGE, "imagesTr/P3_a_0000.nii.gz"), "duplicate image", "P3_a"),
    Fault("the same label under two names", copy(LABEL, "labelsTr/P3_a.nii.gz"), "duplicate label", "P3_a"),
    Fault("the same image as two channels", copy(IMAGE, SECOND), "duplicate image"),
    Fault("the same image in training and test", copy(IMAGE, TEST_IMAGE), "duplicate image", "P9_a"),
    Fault(
        "a copy whose axes are stored otherwise",
        several(copy(IMAGE, TEST_IMAGE), *(on(f"imagesTs/P9_a_000{channel}.nii.gz", turned) for channel in range(2))),
        "duplicate image",
        "P9_a",
    ),
    Fault("mask flipped (MRI)", voxels(LABEL, lambda label: label[:, ::-1]), "mask position", severity="warning"),
    Fault(
        "mask flipped (CT)",
        voxels(LABEL, lambda label: label[:, :, ::-1]),
        "mask position",
        severity="warning",
        write=write_ct,
    ),
    Fault(
        "mask in air (CT)",
        voxels(LABEL, lambda label: np.roll(label, -3, axis=1)),
        "Hounsfield values",
        severity="warning",
        write=write_ct,
    ),
    Fault("CT stored as grey values from 0 to 255", voxels(IMAGE, to_grey), "Hounsfield units", write=write_ct),
    Fault(
        "patient in training and test",
        several(
            *(
                lambda folder, channel=channel: (folder / f"imagesTs/P9_a_{channel}.nii.gz").rename(
                    folder / f"imagesTs/P2_z_{channel}.nii.gz"
                )
                for channel in ("0000", "0001")
            )
        ),
        "patient in train and test",
        options={"patients": r"P\d+"},
    ),
    Fault(
        "patient in training and validation of a fold",
        split(DIVIDED),
        "leakage between folds",
        "P1_b",
        options={"patients": r"P\d+"},
    ),
    Fault(
        "no folds by patient yet: nnU-Net's own divide one",
        remove("splits_final.json"),
        "leakage between folds",
        "",
        options={"patients": r"P\d+"},
    ),
    Fault("folds with a case that does not exist", split([*FOLDS, {"train": ["P7"], "val": ["P1_a"]}]), "folds", ""),
)


def plant(fault: Fault, folder: Path) -> Path:
    """Write the data set with its fault; return its folder."""
    fault.write(folder)
    fault.plant(folder)
    return folder
