"""Faults to plant into a toy data set, one function each; each returns what must be reported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pydicom
import SimpleITK as sitk

from tests.dataset_conversion.builders import LABEL, Toy
from tests.dataset_conversion.volumes import image_of, save

VICTIM, OTHER = 3, 4
"""Positions in `toy.cases` of the case that suffers and of a second one."""


class ExpectedProblem(NamedTuple):
    """What must be reported: kind of problem, case, and words that must stand in the text."""

    kind: str
    case: str
    words: tuple[str, ...]


def _suffers(toy: Toy, kind: str, role: str, *words: str) -> ExpectedProblem:
    case = toy.cases[VICTIM]
    return ExpectedProblem(kind, case, (_name(toy, case, role), *words))


def _name(toy: Toy, case: str, role: str) -> str:
    """What a message calls the volume: its file, or the case's folder around a series."""
    return case if toy.files[case, role].suffix == "" else toy.files[case, role].name


def _resave(toy: Toy, role: str, change: Callable[[sitk.Image], sitk.Image]) -> None:
    case = toy.cases[VICTIM]
    save(change(sitk.Image(toy.truth[case, role])), toy.files[case, role])


def missing_channel(toy: Toy) -> ExpectedProblem:
    case = toy.cases[VICTIM]
    toy.files[case, "T1"].unlink()
    return ExpectedProblem("missing image", case, ("lacks T1", toy.files[case, "T1"].parent.name))


def missing_component(toy: Toy) -> ExpectedProblem:
    _resave(toy, "image", lambda image: image[:, :, :, 0])
    return _suffers(toy, "components", "image", "1 channels", "expected 2")


def extra_component(toy: Toy) -> ExpectedProblem:
    _resave(toy, "image", lambda image: sitk.JoinSeries([image[:, :, :, 0], image[:, :, :, 1], image[:, :, :, 1] * 2]))
    return _suffers(toy, "components", "image", "3 channels", "expected 2")


def label_without_image(toy: Toy) -> ExpectedProblem:
    case = toy.cases[VICTIM]
    for role in toy.roles:
        path = toy.files[case, role]
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return _suffers(toy, "label without image", LABEL)


def image_without_label(toy: Toy) -> ExpectedProblem:
    case = toy.cases[VICTIM]
    toy.files[case, LABEL].unlink()
    return ExpectedProblem("image without label", case, ("has no label",))


def duplicate_case(toy: Toy) -> ExpectedProblem:
    case = toy.cases[VICTIM]
    path = toy.files[case, toy.roles[0]]
    second = toy.source / "second" / path.relative_to(toy.source)
    if path.is_dir():
        shutil.copytree(path, second)
    else:
        save(toy.truth[case, toy.roles[0]], second)
    return ExpectedProblem("duplicate case", case, ("2 files", "second"))


def uncompressed_copy_differs(toy: Toy) -> ExpectedProblem:
    case = toy.cases[VICTIM]
    path = toy.files[case, LABEL]
    copy = path.with_name(path.name.removesuffix(".gz"))
    save(toy.truth[case, LABEL] * 0 + 1, copy)
    return ExpectedProblem("duplicate case", case, (copy.name, path.name))


def uncompressed_copy_truncated(toy: Toy) -> ExpectedProblem:
    path = toy.files[toy.cases[VICTIM], LABEL]
    copy = path.with_name(path.name.removesuffix(".gz"))
    copy.write_bytes(b"no image")
    return ExpectedProblem("unreadable", toy.cases[VICTIM], (f"{copy.name}:",))


def other_shape(toy: Toy) -> ExpectedProblem:
    _resave(toy, LABEL, lambda label: label[:, :, :-1])
    return _suffers(toy, "geometry", LABEL, "shape (20, 22, 11), expected (20, 22, 12)")


def other_spacing(toy: Toy) -> ExpectedProblem:
    def widen(label: sitk.Image) -> sitk.Image:
        label.SetSpacing([spacing * 1.05 for spacing in label.GetSpacing()])
        return label

    _resave(toy, LABEL, widen)
    return _suffers(toy, "geometry", LABEL, "spacing", "tolerance 0.05 mm")


def other_origin(toy: Toy) -> ExpectedProblem:
    def shift(label: sitk.Image) -> sitk.Image:
        label.SetOrigin([number + 0.2 for number in label.GetOrigin()])
        return label

    _resave(toy, LABEL, shift)
    return _suffers(toy, "geometry", LABEL, "origin", "0.346 mm apart")


def other_direction(toy: Toy) -> ExpectedProblem:
    def mirror(label: sitk.Image) -> sitk.Image:
        label.SetDirection([-number if index % 3 == 0 else number for index, number in enumerate(label.GetDirection())])
        return label

    _resave(toy, LABEL, mirror)
    return _suffers(toy, "geometry", LABEL, "orientation")


def channel_elsewhere(toy: Toy) -> ExpectedProblem:
    def shift(image: sitk.Image) -> sitk.Image:
        image.SetOrigin([number + 1 for number in image.GetOrigin()])
        return image

    _resave(toy, "T2", shift)
    return _suffers(toy, "geometry", "T2", "origin")


def half_label(toy: Toy) -> ExpectedProblem:
    toy.change(toy.cases[VICTIM], LABEL, lambda array: array.astype(np.float32) * 0.5)
    return _suffers(toy, "non-integer label", LABEL, "0.5")


def unknown_value(toy: Toy) -> ExpectedProblem:
    def spoil(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.int16)
        array[0, 0, :3] = -7
        return array

    toy.change(toy.cases[VICTIM], LABEL, spoil)
    return _suffers(toy, "label value", LABEL, "-7 (3 voxels)")


def empty_mask(toy: Toy) -> ExpectedProblem:
    toy.change(toy.cases[VICTIM], LABEL, np.zeros_like)
    return _suffers(toy, "empty mask", LABEL)


def _with_one(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def spoil(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.float32)
        array[..., 1, 2, 3] = value
        return array

    return spoil


def nan_voxel(toy: Toy) -> ExpectedProblem:
    toy.change(toy.cases[VICTIM], toy.roles[0], _with_one(np.nan))
    return _suffers(toy, "NaN or Inf", toy.roles[0], "1 voxels")


def inf_voxel(toy: Toy) -> ExpectedProblem:
    toy.change(toy.cases[VICTIM], toy.roles[0], _with_one(np.inf))
    return _suffers(toy, "NaN or Inf", toy.roles[0], "1 voxels")


def constant_image(toy: Toy) -> ExpectedProblem:
    toy.change(toy.cases[VICTIM], toy.roles[-1], lambda array: np.full_like(array, 5))
    return _suffers(toy, "constant image", toy.roles[-1], "5 everywhere")


def constant_test_image(toy: Toy) -> ExpectedProblem:
    case = toy.cases[-1]
    toy.change(case, toy.roles[0], lambda array: np.full_like(array, 5))
    return ExpectedProblem("constant image", case, (_name(toy, case, toy.roles[0]), "5 everywhere"))


def same_image_twice(toy: Toy) -> ExpectedProblem:
    return _copied(toy, toy.cases[OTHER], toy.roles[0], "duplicate image")


def same_label_twice(toy: Toy) -> ExpectedProblem:
    return _copied(toy, toy.cases[OTHER], LABEL, "duplicate label")


def same_image_in_train_and_test(toy: Toy) -> ExpectedProblem:
    return _copied(toy, toy.cases[-1], toy.roles[0], "duplicate image")


def same_label_in_train_and_test(toy: Toy) -> ExpectedProblem:
    return _copied(toy, toy.cases[-1], LABEL, "duplicate label")


def label_without_test_image(toy: Toy) -> ExpectedProblem:
    case = toy.cases[-1]
    for role in toy.roles:
        toy.files[case, role].unlink()
    return ExpectedProblem("label without image", case, (_name(toy, case, LABEL),))


def unlabelled_test_image(toy: Toy) -> ExpectedProblem:
    """No fault but worth a note: such a scan can be predicted."""
    case = toy.cases[-1]
    toy.files[case, LABEL].unlink()
    return ExpectedProblem("image without label", case, ("it can be predicted, not evaluated",))


def _copied(toy: Toy, other: str, role: str, kind: str) -> ExpectedProblem:
    """The victim's voxels under the other's name: stored as another type and packed anew, so that the files differ."""
    voxels = sitk.GetArrayFromImage(toy.truth[toy.cases[VICTIM], role])
    toy.change(other, role, lambda array: voxels.astype(np.int16 if voxels.max() > 2 else np.float32))
    names = {case: _name(toy, case, role) for case in (other, toy.cases[VICTIM])}
    first, second = sorted(names)
    return ExpectedProblem(kind, second, (f"{names[second]}", f"{names[first]}", f"of {first}"))


def same_image_stored_otherwise(toy: Toy) -> ExpectedProblem:
    """The victim's image under the other's name, its axes stored in another order and direction."""
    return _stored_otherwise(toy, toy.roles[0], "duplicate image")


def same_label_stored_otherwise(toy: Toy) -> ExpectedProblem:
    """The victim's label under the other's name, the other's images and label stored in another order and direction."""
    return _stored_otherwise(toy, LABEL, "duplicate label")


def _stored_otherwise(toy: Toy, copied: str, kind: str) -> ExpectedProblem:
    victim, other = toy.cases[VICTIM], toy.cases[OTHER]
    for role in (*toy.roles, LABEL):
        image = toy.truth[victim if role == copied else other, role]
        save(sitk.DICOMOrient(image, "RIA"), toy.files[other, role])
    first, second = sorted((victim, other))
    return ExpectedProblem(kind, second, (_name(toy, second, copied), _name(toy, first, copied), f"of {first}"))


def truncated_label(toy: Toy) -> ExpectedProblem:
    path = toy.files[toy.cases[VICTIM], LABEL]
    path = path.with_suffix(".raw") if path.suffix == ".mhd" else path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return _suffers(toy, "unreadable", LABEL)


def raw_file_lost(toy: Toy) -> ExpectedProblem:
    path = toy.files[toy.cases[VICTIM], "T2"].with_suffix(".raw")
    path.unlink()
    return _suffers(toy, "unreadable", "T2", path.name)


def dangling_link(toy: Toy) -> ExpectedProblem:
    path = toy.files[toy.cases[VICTIM], toy.roles[0]]
    path.unlink()
    path.symlink_to(f"nowhere{path.suffix}")
    return _suffers(toy, "unreadable", toy.roles[0], "link whose target is missing")


def slice_lost(toy: Toy) -> ExpectedProblem:
    (toy.files[toy.cases[VICTIM], "CT"] / "1-005.dcm").unlink()
    return ExpectedProblem("series", toy.cases[VICTIM], ("is a slice missing?", ".dcm"))


def slice_without_position(toy: Toy) -> ExpectedProblem:
    path = toy.files[toy.cases[VICTIM], "CT"] / "1-005.dcm"
    dataset = pydicom.dcmread(path)
    del dataset.ImagePositionPatient
    dataset.save_as(path)
    return ExpectedProblem("series", toy.cases[VICTIM], (path.name, "ImagePositionPatient is absent"))


def slices_without_position(toy: Toy) -> ExpectedProblem:
    for path in (toy.files[toy.cases[VICTIM], "CT"]).iterdir():
        dataset = pydicom.dcmread(path)
        dataset.ImagePositionPatient = None
        dataset.save_as(path)
    return ExpectedProblem("series", toy.cases[VICTIM], (".dcm", "ImagePositionPatient is absent"))


def second_series(toy: Toy) -> ExpectedProblem:
    case = toy.cases[VICTIM]
    save(toy.truth[case, "CT"] + 1, toy.files[case, "CT"].with_name("Pancreas-2"))
    return ExpectedProblem("series", case, ("2 CT series", "Pancreas-2"))


def mask_flipped(toy: Toy) -> ExpectedProblem:
    toy.change(toy.cases[VICTIM], LABEL, lambda array: array[:, :, ::-1].copy())
    return _suffers(toy, "Hounsfield values", LABEL, "flipped along x")


def mask_in_air(toy: Toy) -> ExpectedProblem:
    toy.change(toy.cases[VICTIM], LABEL, lambda array: np.roll(array, -3, axis=1))
    return _suffers(toy, "Hounsfield values", LABEL, "-200 HU")


def other_volume(toy: Toy) -> ExpectedProblem:
    def grow(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[9, 9, 9] = 1
        return array

    toy.change(toy.cases[VICTIM], LABEL, grow)
    return _suffers(toy, "mask volume", LABEL, "clinical_data.csv")


def patient_on_both_sides(toy: Toy) -> ExpectedProblem:
    case, home = toy.cases[VICTIM], toy.source / "MSLesSeg Dataset" / "MSLesSeg Dataset" / "test" / "P2" / "T9"
    for role in (*toy.roles, LABEL):
        array = sitk.GetArrayFromImage(toy.truth[case, role])
        changed = image_of(np.roll(array, 1, axis=0))
        changed.CopyInformation(toy.truth[case, role])
        save(changed, home / toy.files[case, role].name.replace("P2_T1", "P2_T9"))
    return ExpectedProblem("patient in train and test", case, ("P2_T1", "P2_T9"))


def case_lost(toy: Toy) -> ExpectedProblem:
    case = toy.cases[VICTIM]
    toy.files[case, "image"].unlink()
    toy.files[case, LABEL].unlink()
    toy.options["allow_partial"] = False
    return ExpectedProblem("too few cases", "", ("4 of the official 5",))
