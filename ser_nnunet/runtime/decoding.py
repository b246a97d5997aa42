"""From logits to labels on the image's grid, as nnU-Net's `LabelManager` decides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ser_nnunet.runtime.recipe import Recipe


def decode(logits: np.ndarray, recipe: Recipe, regrid: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return labels `(z, y, x)` on the grid that `regrid` brings logits to.

    One class or region after the other, so that just one is on the image's grid at a time. A voxel takes the class of
    its highest logit, the first one of several; with regions, the label of the last region in
    `regions_class_order` whose probability exceeds one half (whose logit exceeds 0).

    Args:
        logits: `(K, z, y, x)`.
        recipe: the model's labels.
        regrid: resamples one class `(z, y, x)`; returns it unchanged where the grid is the image's already.
    """
    kind = np.uint8 if max(recipe.largest_label, recipe.heads) < 255 else np.uint16
    best = regrid(logits[0])
    if recipe.regions_class_order is not None:
        labels = np.where(best > 0, kind(recipe.regions_class_order[0]), kind(0))
        for index in range(1, len(logits)):
            labels[regrid(logits[index]) > 0] = recipe.regions_class_order[index]
        return labels
    best = best.copy()
    labels = np.zeros(best.shape, kind)
    for index in range(1, len(logits)):
        each = regrid(logits[index])
        higher = each > best
        labels[higher] = index
        if index < len(logits) - 1:
            np.copyto(best, each, where=higher)
    return labels
