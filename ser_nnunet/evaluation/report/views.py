"""What to show of a case: the slice with most disagreement, a window to zoom into, and the masks' outlines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from contourpy import contour_generator
from scipy import ndimage

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.labels import LabelOrRegion
from ser_nnunet.evaluation.pairing import Case

ANISOTROPIC = 1.5  # from this ratio of spacings on, slices are cut across the coarse axis, as the scanner did
WINDOW_MM = 80.0  # a zoomed window is at most this or half the image wide, whichever is larger
MARGIN = 1.3  # window over extent of the masks
PLANES = ("axial", "coronal", "sagittal")


@dataclass(frozen=True)
class View:
    """One slice of a case, rows downwards.

    Attributes:
        case: its name.
        image: grey values in [0, 1], `(H, W)`; all 0.15 where there is no image.
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


def view_case(case: Case, classes: Mapping[str, LabelOrRegion], ignore: int | None = None) -> View:
    """Read a case and choose what to show of it.

    Volumes are turned to the radiological view (patient's right on the left, front or head on top). The slice is the
    one where the first method disagrees most with the reference; if it never does, the one with most foreground.
    """
    reference, spacing = _read(case.reference)
    predictions = {method: _read(file)[0] for method, file in case.predictions.items()}
    first = next(iter(predictions.values()))
    valid = reference != ignore if ignore is not None else np.ones(reference.shape, dtype=bool)
    disagreement = (reference != first) & valid
    foreground = ((reference != 0) | (first != 0)) & valid
    axis = _slice_axis(reference.shape, spacing)
    index = _fullest(disagreement if disagreement.any() else foreground, axis)
    plane_spacing = tuple(mm for each, mm in enumerate(spacing) if each != axis)
    take = _Taker(axis, index)
    image = _grey(_read(case.image)[0]) if case.image else np.full(reference.shape, 0.15)
    for array, file in [(image, case.image), *((array, case.predictions[m]) for m, array in predictions.items())]:
        if array.shape != reference.shape:
            raise UserError(f"{file} has {array.shape} voxels (z, y, x), {case.reference} {reference.shape}")
    window = _window(take(disagreement), take(foreground), plane_spacing)
    count = reference.shape[axis]
    return View(
        case.name,
        take(image),
        _by_class(take(reference), classes, take(valid)),
        {method: _by_class(take(array), classes, take(valid)) for method, array in predictions.items()},
        (plane_spacing[0], plane_spacing[1]),
        window,
        f"{PLANES[axis]} slice {index + 1} of {count}" if count > 1 else "",
    )


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Return the closed outlines of a bool mask, each `(N, 2)` of x, y in pixels; pixel (0, 0) spans 0 to 1."""
    if not mask.any():
        return []
    padded = np.pad(mask, 1).astype(float)
    return [np.asarray(line) - 0.5 for line in contour_generator(z=padded).lines(0.5)]


@dataclass(frozen=True)
class _Taker:
    """Cuts the same slice out of every volume, head on top in coronal and sagittal ones."""

    axis: int
    index: int

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        plane = np.take(volume, self.index, axis=self.axis)
        return plane[::-1] if self.axis > 0 else plane


def _read(file: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    """Return an array `(Z, Y, X)` in LPS orientation and its spacing in the same order; Z = 1 for a 2D file."""
    image = sitk.ReadImage(str(file))
    if image.GetNumberOfComponentsPerPixel() > 1:  # RGB
        image = sitk.VectorMagnitude(image)
    if image.GetDimension() == 2:
        return sitk.GetArrayFromImage(image)[None], (1.0, *image.GetSpacing()[::-1])
    image = sitk.DICOMOrient(image, "LPS")
    return sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]


def _grey(image: np.ndarray) -> np.ndarray:
    """Scale between the 0.5th and 99.5th percentile of what isn't the darkest value (the air around a head)."""
    finite = np.nan_to_num(image.astype(np.float32))
    tissue = finite[finite > finite.min()]
    low, high = np.percentile(tissue, [0.5, 99.5]) if tissue.size else (0.0, 1.0)
    return np.clip((finite - low) / max(float(high - low), 1e-6), 0, 1)


def _slice_axis(shape: tuple[int, ...], spacing: tuple[float, ...]) -> int:
    anisotropic = max(spacing) > ANISOTROPIC * min(spacing)
    return int(np.argmax(spacing)) if anisotropic and shape[0] > 1 else 0


def _fullest(mask: np.ndarray, axis: int) -> int:
    others = tuple(each for each in range(3) if each != axis)
    counts = mask.sum(axis=others)
    return int(np.argmax(counts)) if counts.any() else mask.shape[axis] // 2


def _by_class(plane: np.ndarray, classes: Mapping[str, LabelOrRegion], valid: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.isin(plane, label) & valid for name, label in classes.items()}


def _window(disagreement: np.ndarray, foreground: np.ndarray, spacing: tuple[float, ...]) -> tuple[slice, slice]:
    """Return the square window (in mm) that holds most disagreement, and of the foreground as much as it can."""
    extent = [size * mm for size, mm in zip(foreground.shape, spacing, strict=True)]
    if not foreground.any():
        return slice(0, foreground.shape[0]), slice(0, foreground.shape[1])
    filled = [np.flatnonzero(foreground.any(axis=1 - axis)) for axis in (0, 1)]
    needed = MARGIN * max((each[-1] - each[0] + 1) * mm for each, mm in zip(filled, spacing, strict=True))
    side = min(max(needed, max(extent) / 4), max(WINDOW_MM, max(extent) / 2))
    sizes = [min(round(side / mm), size) for mm, size in zip(spacing, foreground.shape, strict=True)]
    weight = ndimage.uniform_filter(disagreement + 0.1 * foreground, size=[max(1, s) for s in sizes], mode="constant")
    # Many windows hold the same: their middle centres what is shown.
    best = np.argwhere(weight >= weight.max() * (1 - 1e-6)).mean(axis=0)
    starts = [
        int(np.clip(round(centre - size / 2), 0, whole - size))
        for centre, size, whole in zip(best, sizes, foreground.shape, strict=True)
    ]
    return slice(starts[0], starts[0] + sizes[0]), slice(starts[1], starts[1] + sizes[1])
