"""Many masks of one picture, none of them from its labels: the proxy-sam learns to follow prompts, not a task."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu
from skimage.segmentation import slic

SMALLEST, LARGEST = 4, 0.6  # pixels, and share of the picture: nothing to learn from a speck or from everything
ATTEMPTS = 20

Draw = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def intensity_band(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the region around a random pixel whose smoothed grey values lie close to that pixel's."""
    smooth = ndimage.gaussian_filter(picture, rng.uniform(0.3, 1.5))
    seed = _pixel(smooth > smooth.min(), rng)
    return _around(np.abs(smooth - smooth[seed]) <= rng.uniform(0.05, 0.2), seed)


def tissue(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one class of Otsu's thresholds (3 or 4 of them), whole or the part around a random pixel."""
    classes = np.digitize(picture, threshold_multiotsu(picture, int(rng.integers(3, 5)), nbins=64))
    mask = classes == rng.integers(1, classes.max() + 1)
    return mask if rng.random() < 0.3 else _around(mask, _pixel(mask, rng))


def superpixels(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one superpixel (SLIC), or one with some of its neighbours."""
    segments = slic(picture, int(rng.integers(8, 60)), compactness=rng.uniform(0.02, 0.2), channel_axis=None)
    mask = segments == rng.choice(np.unique(segments))
    for _ in range(int(rng.integers(0, 3))):
        neighbours = np.unique(segments[ndimage.binary_dilation(mask) & ~mask])
        if len(neighbours):
            mask |= segments == rng.choice(neighbours)
    return mask


def blob(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random smooth region of the picture's shape, from a few pixels to a third of it."""
    noise = rng.standard_normal(picture.shape)
    noise = ndimage.gaussian_filter(noise, rng.uniform(1, 1 + min(picture.shape) / 6), mode="wrap")
    high = noise > np.quantile(noise, rng.uniform(0.7, 0.99))
    return _around(high, _pixel(high, rng))


def paint(picture: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the picture (0 to 1) with the region brighter or darker, its edge blurred; what is dark gets brighter."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), rng.uniform(0.3, 1.0))
    grey = picture[mask].mean()
    sign = rng.choice([-1, 1]) if 0.3 < grey < 0.7 else np.sign(0.5 - grey)
    return np.clip(picture + soft * sign * rng.uniform(0.15, 0.6), 0, 1)


KINDS: tuple[Draw, ...] = (intensity_band, tissue, superpixels)


def draw_masks(picture: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture, with blobs painted in for a share of the masks, and the masks.

    Args:
        picture: `(H, W)`, 0 to 1.

    Returns:
        `(H, W)` and booleans `(count, H, W)`; a quarter of the masks (on average) are blobs.
    """
    masks = [_usable(blob, picture, rng) for _ in range(int(rng.binomial(count, 0.25)))]
    for mask in masks:
        picture = paint(picture, mask, rng)
    while len(masks) < count:
        try:
            mask = _usable(KINDS[rng.integers(len(KINDS))], picture, rng)
        except ValueError:  # air, say: too few grey values for Otsu's thresholds, or no pixel to start from
            mask = _usable(blob, picture, rng)
            picture = paint(picture, mask, rng)
        masks.append(mask)
    return picture, np.stack(masks)


def _usable(draw: Draw, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    for _ in range(ATTEMPTS):
        mask = draw(picture, rng)
        if SMALLEST <= mask.sum() <= LARGEST * mask.size:
            return mask
    raise ValueError("this picture yields no region of a usable size")


def _pixel(where: np.ndarray, rng: np.random.Generator) -> tuple[int, ...]:
    places = np.argwhere(where)
    if not len(places):
        raise ValueError("no pixel to start from")
    return tuple(int(edge) for edge in places[rng.integers(len(places))])


def _around(mask: np.ndarray, pixel: tuple[int, ...]) -> np.ndarray:
    components, _ = ndimage.label(mask)
    return components == components[pixel]
