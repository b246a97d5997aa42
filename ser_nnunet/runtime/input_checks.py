"""Checks of a case against what the model takes and was trained on."""

from __future__ import annotations

import numpy as np

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.recipe import Recipe
from ser_nnunet.runtime.scan import Scan

SPACING_MARGIN = 1.25
"""Spacings up to this factor outside the training's range are no reason for a warning."""
MOST_VOXELS = 1 << 20  # of a channel that percentiles are computed from


def check_scan(scan: Scan, recipe: Recipe) -> None:
    """Raise `UserError` for a scan that the model can't predict: number of channels, dimension, NaN, no content."""
    problems = []
    names = ", ".join(recipe.channels)
    if len(scan.voxels) != len(recipe.channels):
        problems.append(f"{len(scan.voxels)} channels found, expected {len(recipe.channels)}: {names}")
    shape = scan.voxels.shape[1:]
    if recipe.dimension == 3 and min(shape) == 1:
        problems.append(f"a 2D image ({' x '.join(map(str, shape))} voxels) found, expected a volume: the model is 3D")
    for index, channel in enumerate(scan.voxels):
        name = recipe.channels[index] if len(scan.voxels) == len(recipe.channels) else f"channel {index}"
        invalid = channel.size - int(np.isfinite(channel).sum())
        if invalid:
            problems.append(f"{name}: {invalid} of {channel.size} voxels are NaN or infinite")
    if all(channel.min() == channel.max() for channel in scan.voxels):
        problems.append(f"the image is empty: all voxels are {scan.voxels.flat[0]:g}")
    if problems:
        raise UserError("\n".join(problems))


def warnings_about(scan: Scan, recipe: Recipe) -> list[str]:
    """Return sentences on empty channels, and on spacings and intensities outside of the training images' ranges.

    Intensities are compared by the percentiles 0.5 and 99.5: of the image's nonzero voxels, and of the training's
    foreground. A warning needs two ranges without a common value.
    """
    found = []
    for (lowest, highest), source in zip(recipe.trained_on.get("spacing", []), recipe.transpose_forward, strict=False):
        if not lowest / SPACING_MARGIN <= scan.spacing[source] <= highest * SPACING_MARGIN:
            found.append(
                f"spacing {scan.spacing[source]:.3g} mm along axis {'zyx'[source]}, "
                f"the model was trained on {lowest:.3g} to {highest:.3g} mm"
            )
    for name, channel, voxels in zip(recipe.channels, recipe.normalization, scan.voxels, strict=True):
        known = channel.intensities
        sample = voxels.ravel()[:: max(1, voxels.size // MOST_VOXELS)]
        sample = sample[sample != 0]
        if voxels.min() == voxels.max():
            found.append(f"{name}: the channel is empty, all voxels are {voxels.flat[0]:g}")
        if not len(sample) or "percentile_00_5" not in known:
            continue
        low, high = np.percentile(sample, (0.5, 99.5))
        if high < known["percentile_00_5"] or low > known["percentile_99_5"]:
            found.append(
                f"{name}: intensities {low:.4g} to {high:.4g}, "
                f"the training's foreground had {known['percentile_00_5']:.4g} to {known['percentile_99_5']:.4g}"
            )
    return found
