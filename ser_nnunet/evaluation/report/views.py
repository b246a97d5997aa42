"""What is shown of a case: the slice with most disagreement, a window to zoom into, and the masks' outlines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import nibabel
import numpy as np
import SimpleITK as sitk
from contourpy import contour_generator
from nibabel.spatialimages import SpatialImage
from scipy import ndimage

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.case_files import CaseFiles
from ser_nnunet.evaluation.labels import LabelOrRegion
from ser_nnunet.evaluation.report.cases import find_case_files
from ser_nnunet.evaluation.result import Evaluation
from ser_nnunet.utils.unusual_images import NOT_PERPENDICULAR, TIFF, check_readable, open_tiff, read_grid

ANISOTROPIC = 1.5  # from this ratio of spacings on, slices are cut across the coarse axis, as they were acquired
WINDOW_MM = 80.0  # a zoomed window is at most this or half the image wide, whichever is larger
MARGIN = 1.3  # window over extent of the masks
PLANES = ("axial", "coronal", "sagittal")
NO_IMAGE_GREY = 0.15


@dataclass(frozen=True)
class View:
    """One slice of a case, rows downwards.

    Attributes:
        case: its name.
        image: grey values in [0, 1], `(H, W)`; all `NO_IMAGE_GREY` where there is no image.
        reference: class name -> bool mask `(H, W)`.
        predictions: method -> class name -> bool mask `(H, W)`.
        spacing: mm per row and per column.
        window: row and column slices of the zoomed part.
        where: for example "axial slice 92 of 182", or "" for a 2D image.
    """

    case: str
    image: np.ndarray
    reference: Mapping[str, np.ndarray]
    predictions: Mapping[str, Mapping[str, np.ndarray]]
    spacing: tuple[float, float]
    window: tuple[slice, slice]
    where: str


def view_evaluated_case(evaluation: Evaluation, name: str) -> View:
    """Return the view of a case of an evaluation (see `view_case`, `find_case_files`)."""
    classes = {key: tuple(v) if isinstance(v, list) else v for key, v in evaluation.about["classes"].items()}
    return view_case(find_case_files(evaluation, name), classes, evaluation.about["ignore_label"])


def view_case(
    case: CaseFiles, classes: Mapping[str, LabelOrRegion], ignore: int | None = None, most_foreground: bool = False
) -> View:
    """Read a case and choose what is shown of it.

    Volumes are turned to the radiological view (patient's right on the left, front or head on top). The slice is the
    one in which the first method disagrees most with the reference; without disagreement, or if `most_foreground` is
    set, the one with most foreground.

    Raises:
        UserError: the image or a prediction has another size than the reference.
    """
    reference, spacing = _read_volume(case.reference)
    predictions = {method: _read_volume(file)[0] for method, file in case.predictions.items()}
    image = _read_volume(case.image)[0] if case.image else None
    files = [(predictions[method], file) for method, file in case.predictions.items()]
    for array, file in [*files, *([(image, case.image)] if image is not None else [])]:
        if array.shape != reference.shape:
            raise UserError(f"{file} has {array.shape} voxels (z, y, x), {case.reference} {reference.shape}")
    first = next(iter(predictions.values()))
    valid = reference != ignore if ignore is not None else np.ones(reference.shape, dtype=bool)
    disagreement = (reference != first) & valid
    foreground = ((reference != 0) | (first != 0)) & valid
    shown = disagreement if disagreement.any() and not most_foreground else foreground
    axis, index = choose_slice(shown, spacing)

    def cut(volume: np.ndarray) -> np.ndarray:
        plane = np.take(volume, index, axis=axis)
        return plane[::-1] if axis > 0 else plane  # head on top in coronal and sagittal slices

    def split_classes(label_map: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.isin(cut(label_map), label) & cut(valid) for name, label in classes.items()}

    plane_spacing = spacing[:axis] + spacing[axis + 1 :]
    count = reference.shape[axis]
    return View(
        case=case.name,
        image=cut(np.full(reference.shape, NO_IMAGE_GREY) if image is None else scale_intensities(image)),
        reference=split_classes(reference),
        predictions={method: split_classes(array) for method, array in predictions.items()},
        spacing=(plane_spacing[0], plane_spacing[1]),
        window=choose_window(cut(disagreement), cut(foreground), plane_spacing),
        where=f"{PLANES[axis]} slice {index + 1} of {count}" if count > 1 else "",
    )


def choose_slice(mask: np.ndarray, spacing: tuple[float, ...]) -> tuple[int, int]:
    """Return axis and index of the slice that holds most of a mask `(Z, Y, X)`; the middle one if it is empty.

    Slices are axial, or across the coarsest axis of an anisotropic volume.
    """
    anisotropic = max(spacing) > ANISOTROPIC * min(spacing) and mask.shape[0] > 1
    axis = int(np.argmax(spacing)) if anisotropic else 0
    counts = mask.sum(axis=tuple(other for other in range(3) if other != axis))
    return axis, int(np.argmax(counts)) if counts.any() else mask.shape[axis] // 2


def choose_window(disagreement: np.ndarray, foreground: np.ndarray, spacing: tuple[float, ...]) -> tuple[slice, slice]:
    """Return the square window (in mm) that holds most disagreement, and of the foreground as much as possible."""
    extent = [size * mm for size, mm in zip(foreground.shape, spacing, strict=True)]
    if not foreground.any():
        return slice(0, foreground.shape[0]), slice(0, foreground.shape[1])
    filled = [np.flatnonzero(foreground.any(axis=1 - axis)) for axis in (0, 1)]
    needed = MARGIN * max((each[-1] - each[0] + 1) * mm for each, mm in zip(filled, spacing, strict=True))
    side = min(max(needed, max(extent) / 4), max(WINDOW_MM, max(extent) / 2))
    sizes = [min(round(side / mm), size) for mm, size in zip(spacing, foreground.shape, strict=True)]
    weight = ndimage.uniform_filter(disagreement + 0.1 * foreground, size=[max(1, s) for s in sizes], mode="constant")
    # Many windows hold the same amount; the mean of their positions centres the masks.
    best = np.argwhere(weight >= weight.max() * (1 - 1e-6)).mean(axis=0)
    starts = [
        int(np.clip(round(centre - size / 2), 0, whole - size))
        for centre, size, whole in zip(best, sizes, foreground.shape, strict=True)
    ]
    return slice(starts[0], starts[0] + sizes[0]), slice(starts[1], starts[1] + sizes[1])


def scale_intensities(image: np.ndarray) -> np.ndarray:
    """Return grey values in [0, 1] between the 0.5th and 99.5th percentile of the voxels above the minimum (air)."""
    finite = np.nan_to_num(image.astype(np.float32))
    tissue = finite[finite > finite.min()]
    low, high = np.percentile(tissue, [0.5, 99.5]) if tissue.size else (0.0, 1.0)
    return np.clip((finite - low) / max(float(high - low), 1e-6), 0, 1)


def find_outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Return the closed outlines of a bool mask, each `(N, 2)` of x, y in pixels; pixel (0, 0) spans 0 to 1."""
    if not mask.any():
        return []
    padded = np.pad(mask, 1).astype(float)
    return [np.asarray(line) - 0.5 for line in contour_generator(z=padded).lines(0.5)]


def _read_tiff(file: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    """Return the array of a TIFF file as `_read_volume` does, with voxels of 1 mm; of colours the magnitude."""
    with open_tiff(file) as series:
        array, axes = series.asarray(), series.axes
    if "S" in axes:
        array = np.linalg.norm(array.astype(np.float32), axis=axes.index("S"))
    return array[None] if array.ndim == 2 else array, (1.0, 1.0, 1.0)


def _read_image(file: Path) -> sitk.Image:
    """Read an image by ITK, or by nibabel if ITK refuses its axes, which are not perpendicular."""
    try:
        return sitk.ReadImage(str(file))
    except RuntimeError as error:
        if NOT_PERPENDICULAR not in str(error):
            raise
    array = np.asarray(cast(SpatialImage, nibabel.load(file)).dataobj)
    image = sitk.GetImageFromArray(array.T.reshape(array.shape[2::-1]))  # axes of size 1 after the third are dropped
    read_grid(file).impose(image)
    return image


def _read_volume(file: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    """Return an array `(Z, Y, X)` in LPS orientation and its spacing in the same order; Z = 1 for a 2D file."""
    try:
        check_readable(file)
        if file.suffix.lower() in TIFF:
            return _read_tiff(file)
        image = _read_image(file)
    except RuntimeError as error:
        raise UserError(f"{file} cannot be read ({str(error).strip().splitlines()[-1].strip()})") from error
    if image.GetNumberOfComponentsPerPixel() > 1:  # RGB
        image = sitk.VectorMagnitude(image)
    if image.GetDimension() == 2:
        return sitk.GetArrayFromImage(image)[None], (1.0, *image.GetSpacing()[::-1])
    image = sitk.DICOMOrient(image, "LPS")
    return sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]
