"""Distances between the surfaces of two masks, by MONAI."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from ser_nnunet.evaluation.definitions import Measurement
from ser_nnunet.evaluation.masks import ClassMasks
from ser_nnunet.evaluation.settings import Settings

DISTANCES = ("HD_mm", "HD95_mm", "ASSD_mm")


def measure(masks: ClassMasks, settings: Settings) -> Measurement:
    """Measure the surface distances of one class, with its tolerance."""
    empty_mm = masks.diagonal_mm if settings.empty_distance == "diagonal" else math.nan
    tolerance_mm = settings.tolerance(masks.class_name)
    return Measurement(measure_surfaces(masks.reference, masks.prediction, masks.spacing, tolerance_mm, empty_mm))


def describe_rules(settings: Settings) -> str:
    """Return what a reader must know to reproduce these metrics."""
    tolerances = {"every other class" if settings.class_tolerance_mm else "every class": settings.tolerance_mm}
    named = ", ".join(f"{mm:g} mm for {name}" for name, mm in {**settings.class_tolerance_mm, **tolerances}.items())
    return (
        f"MONAI {version('monai')}, mm by the header's spacing. HD, HD95, ASSD between edge voxels (HD95: the"
        " larger of the two directions; ASSD: mean over all edge voxels of both masks). NSD over area-weighted"
        f" surface elements (compute_surface_dice, use_subvoxels=True), tolerance {named}."
    )


def measure_surfaces(
    reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], tolerance_mm: float, empty_mm: float
) -> dict[str, float]:
    """Compare the surfaces of two masks.

    HD, HD95 and ASSD are what MONAI's `compute_hausdorff_distance` (percentile None and 95) and
    `compute_average_surface_distance(symmetric=True)` give: distances between the voxels on the masks' edges. NSD is
    its `compute_surface_dice(use_subvoxels=True)`: surface elements between the voxels, weighted by their area
    (Nikolov et al., J Med Internet Res 2021, 10.2196/26151). The distances are measured once for the first three.

    Args:
        reference: bool, `(Y, X)` or `(Z, Y, X)`. Where a mask touches the image's border, the border is its surface.
        prediction: bool, same shape.
        spacing: mm per axis.
        tolerance_mm: of NSD.
        empty_mm: the three distances where just one mask is empty.

    Returns:
        The distances in mm and NSD in [0, 1]; all NaN where both masks are empty.
    """
    filled = bool(reference.any()), bool(prediction.any())
    if not any(filled):
        return dict.fromkeys((*DISTANCES, "NSD"), math.nan)
    if not all(filled):
        return dict.fromkeys(DISTANCES, empty_mm) | {"NSD": 0.0}
    import torch  # imported here: both take seconds
    from monai.metrics import compute_surface_dice
    from monai.metrics.utils import get_edge_surface_distance

    pair = torch.from_numpy(prediction), torch.from_numpy(reference)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 warns of an argument that it sets itself
        distances = get_edge_surface_distance(*pair, spacing=list(spacing), symmetric=True)[1]
        within = compute_surface_dice(
            pair[0][None, None],
            pair[1][None, None],
            class_thresholds=[tolerance_mm],
            include_background=True,
            spacing=list(spacing),
            use_subvoxels=True,
        )
    return {
        "HD_mm": max(float(each.max()) for each in distances),
        "HD95_mm": max(float(np.quantile(each.numpy(), 0.95)) for each in distances),
        "ASSD_mm": float(torch.cat(distances).mean()),
        "NSD": float(within),
    }
