"""The voxels of one case: reference and prediction, read by nnU-Net's reader, cropped to the labelled region."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
from nnunetv2.evaluation.evaluate_predictions import region_or_label_to_mask
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

from ser_nnunet.evaluation.headers import describe_grid_difference
from ser_nnunet.evaluation.labels import LabelOrRegion, Labels
from ser_nnunet.utils.geometry import Grid
from ser_nnunet.utils.image_files import ImageFileError
from ser_nnunet.utils.nifti import read_voxels
from ser_nnunet.utils.nifti_header import is_nifti, read_header
from ser_nnunet.utils.unusual_images import check_readable

FLAT_IMAGE_FACTOR = 900  # nnU-Net's readers set a slice spacing of 999 (times the largest spacing) for 2D files

LabelMap = tuple[np.ndarray, tuple[float, ...]]  # integers (Z, Y, X), and mm per axis in the same order


class MaskError(ValueError):
    """A segmentation that cannot be evaluated; the message says which file and why."""


@dataclass(frozen=True)
class ClassMasks:
    """Reference and prediction of one class of one case: what every metric is measured from.

    Attributes:
        class_name: as in dataset.json.
        reference: bool, `(Z, Y, X)`, or `(Y, X)` for a single slice; cropped to the labelled region of the case.
            Ignored voxels are False in both masks.
        prediction: bool, same shape.
        spacing: mm per axis, in the array's order.
        voxel_ml: volume of a voxel in ml (a 2D file counts as 1 mm thick).
        diagonal_mm: of the whole image: no distance in it is larger.
    """

    class_name: str
    reference: np.ndarray
    prediction: np.ndarray
    spacing: tuple[float, ...]
    voxel_ml: float
    diagonal_mm: float


@dataclass(frozen=True)
class Masks:
    """Label maps of one case, reference and prediction; attributes as in `ClassMasks`, but label values for bool."""

    reference: np.ndarray
    prediction: np.ndarray
    spacing: tuple[float, ...]
    voxel_ml: float
    diagonal_mm: float

    def select_class(self, name: str, label: LabelOrRegion, ignore: int | None) -> ClassMasks:
        """Return the masks of a class (one label value or a region of several), without the ignored voxels."""
        reference, prediction = (region_or_label_to_mask(each, label) for each in (self.reference, self.prediction))
        if ignore is not None:
            evaluated = self.reference != ignore
            reference, prediction = reference & evaluated, prediction & evaluated
        return ClassMasks(name, reference, prediction, self.spacing, self.voxel_ml, self.diagonal_mm)


def choose_reader(labels: Labels, examples: Sequence[Path]) -> BaseReaderWriter:
    """Return nnU-Net's reader for the data set, chosen by the first of the files that can be read.

    Raises:
        MaskError: none of them can be read.
    """
    overwrite = str(labels.content.get("overwrite_image_reader_writer", "None"))
    content = {"file_ending": labels.file_ending, "overwrite_image_reader_writer": overwrite}
    reasons = []
    for example in examples:
        printed = StringIO()
        try:
            check_readable(example)
            with redirect_stdout(StringIO()), redirect_stderr(printed):  # nnU-Net tries one reader after the other
                return determine_reader_writer_from_dataset_json(content, str(example), verbose=False)()
        except RuntimeError as error:  # an ImageFileError, or nnU-Net's, whose last reader has printed why
            lines = [*str(error).strip().splitlines()[:1], *printed.getvalue().strip().splitlines()]
            reasons.append(f"{example} cannot be read ({lines[-1] if lines else ''})")
    raise MaskError("; ".join(reasons))


def read_label_map(file: Path, reader: BaseReaderWriter, labels: Labels) -> LabelMap:
    """Read a segmentation: its integer label map `(Z, Y, X)` and its spacing in mm, in the same order.

    Raises:
        MaskError: unreadable, not integers, or a label value that dataset.json doesn't know.
    """
    try:
        check_readable(file)
        if is_nifti(file) and read_header(file).dtype.kind == "f":  # ITK reads NaN and Inf as 0 without a warning
            bad = int((~np.isfinite(read_voxels(file)[0])).sum())
            if bad:
                raise ImageFileError(f"{bad} voxels are NaN or Inf")
        array, properties = reader.read_seg(str(file))
    except ImageFileError as error:
        raise MaskError(f"{file} cannot be read ({error})") from error
    except Exception as error:  # whatever a reader may raise
        raise MaskError(f"{file} cannot be read ({type(error).__name__}: {error})") from error
    raw = array[0]
    with np.errstate(invalid="ignore"):  # NaN is reported below
        label_map = raw.astype(np.uint8 if max(labels.values) < 255 else np.uint16)
    if not np.array_equal(label_map, raw):
        found = np.unique(raw[label_map != raw])[:5]
        raise MaskError(f"{file} holds values that are no labels: {', '.join(f'{value:g}' for value in found)}")
    counts = np.zeros(np.iinfo(label_map.dtype).max + 1, dtype=np.int64)
    for plane in label_map:  # plane by plane, since bincount converts its input to int64
        counts += np.bincount(plane.ravel(), minlength=counts.size)
    unknown = sorted(set(np.flatnonzero(counts).tolist()) - labels.values)
    if unknown:
        known = ", ".join(map(str, sorted(labels.values)))
        raise MaskError(f"{file} holds label {', '.join(map(str, unknown[:5]))}; dataset.json knows {known}")
    return label_map, tuple(float(value) for value in properties["spacing"])


def pair_masks(reference: LabelMap, prediction: LabelMap, file: Path) -> Masks:
    """Return the masks of two label maps as `read_label_map` gives them; `file` is the prediction's.

    Raises:
        MaskError: shapes or spacings that differ as nnU-Net reads them, which is not always what the headers say.
    """
    found, expected = (
        Grid(array.shape[::-1], spacing[::-1], (0.0,) * 3, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
        for array, spacing in (prediction, reference)
    )
    if difference := describe_grid_difference(found, expected):
        raise MaskError(f"{file} has {difference} as in its reference")
    return crop_masks(reference[0], prediction[0], reference[1])


def crop_masks(reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, ...]) -> Masks:
    """Crop two label maps `(Z, Y, X)` to the box in which either is not 0; drop the axis of a single slice."""
    voxel_ml = math.prod(spacing) / 1000
    if reference.shape[0] == 1:
        if spacing[0] > FLAT_IMAGE_FACTOR * min(spacing[1:]):
            voxel_ml = math.prod(spacing[1:]) / 1000
        reference, prediction, spacing = reference[0], prediction[0], spacing[1:]
    extent = [size * step for size, step in zip(reference.shape, spacing, strict=True)]
    labelled = (reference != 0) | (prediction != 0)
    box = []
    for axis in range(labelled.ndim):
        filled = np.flatnonzero(labelled.any(axis=tuple(other for other in range(labelled.ndim) if other != axis)))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 1))
    return Masks(reference[tuple(box)], prediction[tuple(box)], spacing, voxel_ml, math.hypot(*extent))
