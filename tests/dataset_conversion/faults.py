"""Faults to plant into a sample data set, one function each; each returns what must be reported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pydicom
import SimpleITK as sitk

from tests.dataset_conversion.builders import LABEL, SampleDataset
from tests.dataset_conversion.volumes import image_of, save

VICTIM, OTHER = 3, 4
"""Positions in `sample.cases` of the case that suffers and of a second one."""


class ExpectedProblem(NamedTuple):
    """What must be reported: kind of problem, case, and words that must stand in the text."""

    kind: str
    case: str
    words: tuple[str, ...]


def _suffers(sample: SampleDataset, kind: str, role: str, *words: str) -> ExpectedProblem:
    case = sample.cases[VICTIM]
    return ExpectedProblem(kind, case, (_name(sample, case, role), *words))


def _name(sample: SampleDataset, case: str, role: str) -> str:
    """What a message calls the volume: its file, or the case's folder around a series."""
    return case if sample.files[case, role].suffix == "" else sample.files[case, role].name


def _resave(sample: SampleDataset, role: str, change: Callable[[sitk.Image], sitk.Image]) -> None:
    case = sample.cases[VICTIM]
    save(change(sitk.Image(sample.truth[case, role])), sample.files[case, role])


def missing_channel(sample: SampleDataset) -> ExpectedProblem:
    case = sample.cases[VICTIM]
    sample.files[case, "T1"].unlink()
    return ExpectedProblem("missing image", case, ("lacks T1", sample.files[case, "T1"].parent.name))


def missing_component(sample: SampleDataset) -> ExpectedProblem:
    _resave(sample, "image", lambda image: image[:, :, :, 0])
    return _suffers(sample, "components", "image", "1 channels", "expected 2")


def extra_component(sample: SampleDataset) -> ExpectedProblem:
    _resave(
        sample, "image", lambda image: sitk.JoinSeries([image[:, :, :, 0], image[:, :, :, 1], image[:, :, :, 1] * 2])
    )
    return _suffers(sample, "components", "image", "3 channels", "expected 2")


def label_without_image(sample: SampleDataset) -> ExpectedProblem:
    case = sample.cases[VICTIM]
    for role in sample.roles:
        path = sample.files[case, role]
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return _suffers(sample, "label without image", LABEL)


def image_without_label(sample: SampleDataset) -> ExpectedProblem:
    case = sample.cases[VICTIM]
    sample.files[case, LABEL].unlink()
    return ExpectedProblem("image without label", case, ("has no label",))


def duplicate_case(sample: SampleDataset) -> ExpectedProblem:
    case = sample.cases[VICTIM]
    path = sample.files[case, sample.roles[0]]
    second = sample.source / "second" / path.relative_to(sample.source)
    if path.is_dir():
        shutil.copytree(path, second)
    else:
        save(sample.truth[case, sample.roles[0]], second)
    return ExpectedProblem("duplicate case", case, ("2 files", "second"))


def uncompressed_copy_differs(sample: SampleDataset) -> ExpectedProblem:
    case = sample.cases[VICTIM]
    path = sample.files[case, LABEL]
    copy = path.with_name(path.name.removesuffix(".gz"))
    save(sample.truth[case, LABEL] * 0 + 1, copy)
    return ExpectedProblem("duplicate case", case, (copy.name, path.name))


def uncompressed_copy_truncated(sample: SampleDataset) -> ExpectedProblem:
    path = sample.files[sample.cases[VICTIM], LABEL]
    copy = path.with_name(path.name.removesuffix(".gz"))
    copy.write_bytes(b"no image")
    return ExpectedProblem("unreadable", sample.cases[VICTIM], (f"{copy.name}:",))


def other_shape(sample: SampleDataset) -> ExpectedProblem:
    _resave(sample, LABEL, lambda label: label[:, :, :-1])
    return _suffers(sample, "geometry", LABEL, "shape (20, 22, 11), expected (20, 22, 12)")


def other_spacing(sample: SampleDataset) -> ExpectedProblem:
    def widen(label: sitk.Image) -> sitk.Image:
        label.SetSpacing([spacing * 1.05 for spacing in label.GetSpacing()])
        return label

    _resave(sample, LABEL, widen)
    return _suffers(sample, "geometry", LABEL, "spacing", "tolerance 0.05 mm")


def other_origin(sample: SampleDataset) -> ExpectedProblem:
    def shift(label: sitk.Image) -> sitk.Image:
        label.SetOrigin([number + 0.2 for number in label.GetOrigin()])
        return label

    _resave(sample, LABEL, shift)
    return _suffers(sample, "geometry", LABEL, "origin", "0.346 mm apart")


def other_direction(sample: SampleDataset) -> ExpectedProblem:
    def mirror(label: sitk.Image) -> sitk.Image:
        label.SetDirection([-number if index % 3 == 0 else number for index, number in enumerate(label.GetDirection())])
        return label

    _resave(sample, LABEL, mirror)
    return _suffers(sample, "geometry", LABEL, "orientation")


def channel_elsewhere(sample: SampleDataset) -> ExpectedProblem:
    def shift(image: sitk.Image) -> sitk.Image:
        image.SetOrigin([number + 1 for number in image.GetOrigin()])
        return image

    _resave(sample, "T2", shift)
    return _suffers(sample, "geometry", "T2", "origin")


def half_label(sample: SampleDataset) -> ExpectedProblem:
    sample.change(sample.cases[VICTIM], LABEL, lambda array: array.astype(np.float32) * 0.5)
    return _suffers(sample, "non-integer label", LABEL, "0.5")


def unknown_value(sample: SampleDataset) -> ExpectedProblem:
    def spoil(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.int16)
        array[0, 0, :3] = -7
        return array

    sample.change(sample.cases[VICTIM], LABEL, spoil)
    return _suffers(sample, "label value", LABEL, "-7 (3 voxels)")


def empty_mask(sample: SampleDataset) -> ExpectedProblem:
    sample.change(sample.cases[VICTIM], LABEL, np.zeros_like)
    return _suffers(sample, "empty mask", LABEL)


def _with_one(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def spoil(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.float32)
        array[..., 1, 2, 3] = value
        return array

    return spoil


def nan_voxel(sample: SampleDataset) -> ExpectedProblem:
    sample.change(sample.cases[VICTIM], sample.roles[0], _with_one(np.nan))
    return _suffers(sample, "NaN or Inf", sample.roles[0], "1 voxels")


def inf_voxel(sample: SampleDataset) -> ExpectedProblem:
    sample.change(sample.cases[VICTIM], sample.roles[0], _with_one(np.inf))
    return _suffers(sample, "NaN or Inf", sample.roles[0], "1 voxels")


def constant_image(sample: SampleDataset) -> ExpectedProblem:
    sample.change(sample.cases[VICTIM], sample.roles[-1], lambda array: np.full_like(array, 5))
    return _suffers(sample, "constant image", sample.roles[-1], "5 everywhere")


def constant_test_image(sample: SampleDataset) -> ExpectedProblem:
    case = sample.cases[-1]
    sample.change(case, sample.roles[0], lambda array: np.full_like(array, 5))
    return ExpectedProblem("constant image", case, (_name(sample, case, sample.roles[0]), "5 everywhere"))


def same_image_twice(sample: SampleDataset) -> ExpectedProblem:
    return _copied(sample, sample.cases[OTHER], sample.roles[0], "duplicate image")


def same_label_twice(sample: SampleDataset) -> ExpectedProblem:
    return _copied(sample, sample.cases[OTHER], LABEL, "duplicate label")


def same_image_in_train_and_test(sample: SampleDataset) -> ExpectedProblem:
    return _copied(sample, sample.cases[-1], sample.roles[0], "duplicate image")


def same_label_in_train_and_test(sample: SampleDataset) -> ExpectedProblem:
    return _copied(sample, sample.cases[-1], LABEL, "duplicate label")


def label_without_test_image(sample: SampleDataset) -> ExpectedProblem:
    case = sample.cases[-1]
    for role in sample.roles:
        sample.files[case, role].unlink()
    return ExpectedProblem("label without image", case, (_name(sample, case, LABEL),))


def unlabelled_test_image(sample: SampleDataset) -> ExpectedProblem:
    """No fault but worth a note: such a scan can be predicted."""
    case = sample.cases[-1]
    sample.files[case, LABEL].unlink()
    return ExpectedProblem("image without label", case, ("it can be predicted, not evaluated",))


def _copied(sample: SampleDataset, other: str, role: str, kind: str) -> ExpectedProblem:
    """The victim's voxels under the other's name: stored as another type and packed anew, so that the files differ."""
    voxels = sitk.GetArrayFromImage(sample.truth[sample.cases[VICTIM], role])
    sample.change(other, role, lambda array: voxels.astype(np.int16 if voxels.max() > 2 else np.float32))
    names = {case: _name(sample, case, role) for case in (other, sample.cases[VICTIM])}
    first, second = sorted(names)
    return ExpectedProblem(kind, second, (f"{names[second]}", f"{names[first]}", f"of {first}"))


def same_image_stored_otherwise(sample: SampleDataset) -> ExpectedProblem:
    """The victim's image under the other's name, its axes stored in another order and direction."""
    return _stored_otherwise(sample, sample.roles[0], "duplicate image")


def same_label_stored_otherwise(sample: SampleDataset) -> ExpectedProblem:
    """The victim's label under the other's name, the other's images and label stored in another order and direction."""
    return _stored_otherwise(sample, LABEL, "duplicate label")


def _stored_otherwise(sample: SampleDataset, copied: str, kind: str) -> ExpectedProblem:
    victim, other = sample.cases[VICTIM], sample.cases[OTHER]
    for role in (*sample.roles, LABEL):
        image = sample.truth[victim if role == copied else other, role]
        save(sitk.DICOMOrient(image, "RIA"), sample.files[other, role])
    first, second = sorted((victim, other))
    return ExpectedProblem(kind, second, (_name(sample, second, copied), _name(sample, first, copied), f"of {first}"))


def truncated_label(sample: SampleDataset) -> ExpectedProblem:
    path = sample.files[sample.cases[VICTIM], LABEL]
    path = path.with_suffix(".raw") if path.suffix == ".mhd" else path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return _suffers(sample, "unreadable", LABEL)


def raw_file_lost(sample: SampleDataset) -> ExpectedProblem:
    path = sample.files[sample.cases[VICTIM], "T2"].with_suffix(".raw")
    path.unlink()
    return _suffers(sample, "unreadable", "T2", path.name)


def dangling_link(sample: SampleDataset) -> ExpectedProblem:
    path = sample.files[sample.cases[VICTIM], sample.roles[0]]
    path.unlink()
    path.symlink_to(f"nowhere{path.suffix}")
    return _suffers(sample, "unreadable", sample.roles[0], "link whose target is missing")


def slice_lost(sample: SampleDataset) -> ExpectedProblem:
    (sample.files[sample.cases[VICTIM], "CT"] / "1-005.dcm").unlink()
    return ExpectedProblem("series", sample.cases[VICTIM], ("is a slice missing?", ".dcm"))


def slice_without_position(sample: SampleDataset) -> ExpectedProblem:
    path = sample.files[sample.cases[VICTIM], "CT"] / "1-005.dcm"
    dataset = pydicom.dcmread(path)
    del dataset.ImagePositionPatient
    dataset.save_as(path)
    return ExpectedProblem("series", sample.cases[VICTIM], (path.name, "ImagePositionPatient is absent"))


def slices_without_position(sample: SampleDataset) -> ExpectedProblem:
    for path in (sample.files[sample.cases[VICTIM], "CT"]).iterdir():
        dataset = pydicom.dcmread(path)
        dataset.ImagePositionPatient = None
        dataset.save_as(path)
    return ExpectedProblem("series", sample.cases[VICTIM], (".dcm", "ImagePositionPatient is absent"))


def second_series(sample: SampleDataset) -> ExpectedProblem:
    case = sample.cases[VICTIM]
    save(sample.truth[case, "CT"] + 1, sample.files[case, "CT"].with_name("Pancreas-2"))
    return ExpectedProblem("series", case, ("2 CT series", "Pancreas-2"))


def mask_flipped(sample: SampleDataset) -> ExpectedProblem:
    sample.change(sample.cases[VICTIM], LABEL, lambda array: array[:, :, ::-1].copy())
    return _suffers(sample, "Hounsfield values", LABEL, "flipped along x")


def mask_in_air(sample: SampleDataset) -> ExpectedProblem:
    sample.change(sample.cases[VICTIM], LABEL, lambda array: np.roll(array, -3, axis=1))
    return _suffers(sample, "Hounsfield values", LABEL, "-200 HU")


def other_volume(sample: SampleDataset) -> ExpectedProblem:
    def grow(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[9, 9, 9] = 1
        return array

    sample.change(sample.cases[VICTIM], LABEL, grow)
    return _suffers(sample, "mask volume", LABEL, "clinical_data.csv")


def patient_on_both_sides(sample: SampleDataset) -> ExpectedProblem:
    case, home = sample.cases[VICTIM], sample.source / "MSLesSeg Dataset" / "MSLesSeg Dataset" / "test" / "P2" / "T9"
    for role in (*sample.roles, LABEL):
        array = sitk.GetArrayFromImage(sample.truth[case, role])
        changed = image_of(np.roll(array, 1, axis=0))
        changed.CopyInformation(sample.truth[case, role])
        save(changed, home / sample.files[case, role].name.replace("P2_T1", "P2_T9"))
    return ExpectedProblem("patient in train and test", case, ("P2_T1", "P2_T9"))


def case_lost(sample: SampleDataset) -> ExpectedProblem:
    case = sample.cases[VICTIM]
    sample.files[case, "image"].unlink()
    sample.files[case, LABEL].unlink()
    sample.options["allow_partial"] = False
    return ExpectedProblem("too few cases", "", ("4 of the official 5",))
