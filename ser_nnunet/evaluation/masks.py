"""The voxels of one case: reference and prediction, read by nnU-Net's reader, cropped to what is labelled."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nnunetv2.evaluation.evaluate_predictions import region_or_label_to_mask
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

from ser_nnunet.evaluation.labels import Labels

FLAT_IMAGE_FACTOR = 900  # nnU-Net's readers invent a slice spacing of 999 (times the largest spacing) for 2D files

LabelMap = tuple[np.ndarray, tuple[float, ...]]  # integers (Z, Y, X), and mm per axis in the same order


class MaskError(ValueError):
    """A segmentation that cannot be evaluated; the message says which file and why."""


@dataclass(frozen=True)
class Masks:
    """Reference and prediction of one case.

    Attributes:
        reference: label values, `(Z, Y, X)`, or `(Y, X)` for a single slice; cropped to where either is not 0.
        prediction: same shape.
        spacing: mm per axis, in the array's order.
        voxel_ml: volume of a voxel in ml (a 2D file counts as 1 mm thick).
        diagonal_mm: of the whole image: no distance in it is larger.
        voxels: number of voxels of the whole image.
    """

    reference: np.ndarray
    prediction: np.ndarray
    spacing: tuple[float, ...]
    voxel_ml: float
    diagonal_mm: float
    voxels: int

    def of_class(self, label: int | tuple[int, ...], ignore: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Return reference and prediction as bool masks, ignored voxels False in both."""
        pair = [region_or_label_to_mask(array, label) for array in (self.reference, self.prediction)]
        if ignore is not None:
            pair = [mask & (self.reference != ignore) for mask in pair]
        return pair[0], pair[1]


@functools.lru_cache(maxsize=8)
def _reader_class(file_ending: str, overwrite: str, example: str) -> type[BaseReaderWriter]:
    content = {"file_ending": file_ending, "overwrite_image_reader_writer": overwrite}
    return determine_reader_writer_from_dataset_json(content, example, verbose=False)


def reader_for(labels: Labels, examples: Sequence[Path]) -> BaseReaderWriter:
    """Return nnU-Net's reader for the data set, chosen by the first of the files that can be read.

    Raises:
        MaskError: none can.
    """
    overwrite = str(labels.content.get("overwrite_image_reader_writer", "None"))
    for example in examples:
        try:
            return _reader_class(labels.file_ending, overwrite, str(example))()
        except RuntimeError:  # nnU-Net has printed why
            continue
    raise MaskError(f"none of nnU-Net's readers can read {', '.join(map(str, examples))}")


def read_label_map(file: Path, reader: BaseReaderWriter, labels: Labels) -> LabelMap:
    """Read a segmentation: its integer label map `(Z, Y, X)` and its spacing in mm, in the same order.

    Raises:
        MaskError: unreadable, not integers, or a label value that dataset.json doesn't know.
    """
    try:
        array, properties = reader.read_seg(str(file))
    except Exception as error:  # whatever a reader may raise
        raise MaskError(f"{file} cannot be read ({type(error).__name__}: {error})") from error
    raw = array[0]
    with np.errstate(invalid="ignore"):  # NaN is found below
        label_map = raw.astype(np.uint8 if max(labels.values) < 255 else np.uint16)
    if not np.array_equal(label_map, raw):
        found = np.unique(raw[label_map != raw])[:5]
        raise MaskError(f"{file} holds values that are no labels: {', '.join(f'{value:g}' for value in found)}")
    unknown = sorted(_values(label_map) - labels.values)
    if unknown:
        known = ", ".join(map(str, sorted(labels.values)))
        raise MaskError(f"{file} holds label {', '.join(map(str, unknown[:5]))}; dataset.json knows {known}")
    return label_map, tuple(float(value) for value in properties["spacing"])


def pair_masks(reference: LabelMap, prediction: LabelMap, file: Path) -> Masks:
    """Return the masks of two label maps as `read_label_map` gives them; `file` is the prediction's.

    Raises:
        MaskError: shapes or spacings that differ.
    """
    (truth, spacing), (predicted, other_spacing) = reference, prediction
    if predicted.shape != truth.shape or not np.allclose(spacing, other_spacing, rtol=1e-3):
        raise MaskError(
            f"{file} has shape {predicted.shape} and spacing {other_spacing},"
            f" its reference has {truth.shape} and {spacing}"
        )
    return masks_of(truth, predicted, spacing)


def masks_of(reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, ...]) -> Masks:
    """Crop two label maps `(Z, Y, X)` to the box in which either is not 0; drop the axis of a single slice."""
    voxel_ml = math.prod(spacing) / 1000
    if reference.shape[0] == 1:
        if spacing[0] > FLAT_IMAGE_FACTOR * min(spacing[1:]):
            voxel_ml = math.prod(spacing[1:]) / 1000
        reference, prediction, spacing = reference[0], prediction[0], spacing[1:]
    extent = [size * step for size, step in zip(reference.shape, spacing, strict=True)]
    box = _bounding_box((reference != 0) | (prediction != 0))
    return Masks(reference[box], prediction[box], spacing, voxel_ml, math.hypot(*extent), reference.size)


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Return the box around True, one voxel large if there is none."""
    box = []
    for axis in range(mask.ndim):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 1))
    return tuple(box)


def _values(label_map: np.ndarray) -> set[int]:
    """Return the values that occur, plane by plane: bincount makes int64 of what it gets."""
    counts = np.zeros(np.iinfo(label_map.dtype).max + 1, dtype=np.int64)
    for plane in label_map:
        counts += np.bincount(plane.ravel(), minlength=counts.size)
    return set(np.flatnonzero(counts).tolist())
