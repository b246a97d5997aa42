"""Pictures of cases with findings: the slice with most foreground and the label's outlines, as nnU-Net reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ser_nnunet.dataset_conversion.core.data_classes import Volume
from ser_nnunet.dataset_conversion.core.readers import ReadingError, read_volume
from ser_nnunet.evaluation.report.panels import CasePanels, make_panels
from ser_nnunet.evaluation.report.views import NO_IMAGE_GREY, View, choose_slice, choose_window, scale_intensities

LABEL_PANEL = "label"


def draw_case(case: str, image: Path | None, label: Path | None, reader: str) -> CasePanels | None:
    """Return the panels of a case, or None where neither file can be read.

    Arrays are shown as they are stored, not turned by their headers: that is what the network sees. A label of another
    shape than the image is left out.
    """
    values, labels = _read(image, reader), _read(label, reader)
    grid = values if values is not None else labels
    if grid is None:
        return None
    array = sitk.GetArrayFromImage(grid)
    mask = np.zeros(array.shape, dtype=bool)
    fits = labels is not None and labels.GetSize() == grid.GetSize()
    if labels is not None and fits:
        mask = np.nan_to_num(sitk.GetArrayFromImage(labels)) > 0
    spacing = grid.GetSpacing()[::-1]
    axis, index = choose_slice(mask, spacing)
    plane = np.take(mask, index, axis=axis)
    plane_spacing = spacing[:axis] + spacing[axis + 1 :]
    grey = (
        np.full(plane.shape, NO_IMAGE_GREY) if values is None else scale_intensities(np.take(array, index, axis=axis))
    )
    where = f"slice {index + 1} of {array.shape[axis]}" if array.shape[axis] > 1 else "2D image"
    note = "" if fits else " (its label can't be read)" if labels is None else " (its label has another shape)"
    view = View(
        case=case,
        image=grey,
        reference={LABEL_PANEL: plane},
        predictions={LABEL_PANEL: {}} if plane.any() else {},
        spacing=(plane_spacing[0], plane_spacing[1]),
        window=choose_window(plane, plane, plane_spacing),
        where=where + (note if label is not None else ""),
    )
    return make_panels(view)


def _read(file: Path | None, reader: str) -> sitk.Image | None:
    if file is None:
        return None
    try:
        return read_volume(Volume(file, reader=reader))
    except ReadingError:  # one of the findings
        return None
