"""Distances between the surfaces of two masks, by MONAI."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

LIBRARY = "MONAI"
NAMES = ("HD_mm", "HD95_mm", "ASSD_mm", "NSD")


def surface_metrics(
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
        `NAMES`: distances in mm, NSD in [0, 1]; all NaN where both masks are empty.
    """
    filled = bool(reference.any()), bool(prediction.any())
    if not any(filled):
        return dict.fromkeys(NAMES, math.nan)
    if not all(filled):
        return dict.fromkeys(NAMES[:3], empty_mm) | {"NSD": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 warns of an argument that it sets itself
        return _measure(reference, prediction, spacing, tolerance_mm)


def _measure(
    reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], tolerance_mm: float
) -> dict[str, float]:
    import torch  # MONAI needs it anyway
    from monai.metrics import compute_surface_dice
    from monai.metrics.utils import get_edge_surface_distance

    pair = torch.from_numpy(prediction), torch.from_numpy(reference)
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
