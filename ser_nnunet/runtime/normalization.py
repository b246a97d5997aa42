"""nnU-Net's intensity normalisations (`nnunetv2.preprocessing.normalization`), one channel at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.recipe import Normalization

SMALLEST = 1e-8  # nnU-Net's lower bound of a deviation, against division by zero


def _z_score(image: np.ndarray, mask: np.ndarray | None, _: Normalization) -> np.ndarray:
    if mask is not None:
        inside = image[mask]
        image[mask] = (inside - inside.mean()) / max(inside.std(), SMALLEST)
        return image
    mean, deviation = image.mean(), image.std()
    image -= mean
    image /= max(deviation, SMALLEST)
    return image


def _ct(image: np.ndarray, _: np.ndarray | None, channel: Normalization) -> np.ndarray:
    known = channel.intensities
    np.clip(image, known["percentile_00_5"], known["percentile_99_5"], out=image)
    image -= known["mean"]
    image /= max(known["std"], SMALLEST)
    return image


def _rescale_to_01(image: np.ndarray, _: np.ndarray | None, __: Normalization) -> np.ndarray:
    image -= image.min()
    image /= np.clip(image.max(), a_min=SMALLEST, a_max=None)
    return image


def _rgb_to_01(image: np.ndarray, _: np.ndarray | None, __: Normalization) -> np.ndarray:
    lowest, highest = float(image.min()), float(image.max())
    if lowest < 0 or highest > 255:
        raise UserError(f"expected RGB values from 0 to 255, found {lowest:g} to {highest:g}")
    image /= 255.0
    return image


SCHEMES: dict[str, Callable[[np.ndarray, np.ndarray | None, Normalization], np.ndarray]] = {
    "ZScoreNormalization": _z_score,
    "CTNormalization": _ct,
    "NoNormalization": lambda image, _, __: image,
    "RescaleTo01Normalization": _rescale_to_01,
    "RGBTo01Normalization": _rgb_to_01,
}
"""Normalisations by the name that plans use."""


def normalize(image: np.ndarray, mask: np.ndarray | None, channel: Normalization) -> np.ndarray:
    """Normalise one channel in place and return it.

    Args:
        image: `(z, y, x)`, float32.
        mask: `(z, y, x)`, true where any channel is nonzero, holes filled; used where the recipe says so.
        channel: its entry in the recipe.
    """
    return SCHEMES[channel.scheme](image, mask if channel.use_mask else None, channel)
