"""Masks drawn from an image without its labels, so that the proxy SAM is trained to follow prompts, not for one
task.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu
from skimage.segmentation import slic

SMALLEST, LARGEST = 4, 0.6  # pixels, and share of the image
ATTEMPTS = 20

Draw = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def draw_intensity_band(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the region around a random pixel whose smoothed grey values lie close to that pixel's."""
    smooth = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.5))
    seed = _choose_pixel(smooth > smooth.min(), rng)
    return _component_at(np.abs(smooth - smooth[seed]) <= rng.uniform(0.05, 0.2), seed)


def draw_tissue(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one class of Otsu's thresholds (3 or 4 of them), whole or the part around a random pixel."""
    classes = np.digitize(image, threshold_multiotsu(image, int(rng.integers(3, 5)), nbins=64))
    mask = classes == rng.integers(1, classes.max() + 1)
    return mask if rng.random() < 0.3 else _component_at(mask, _choose_pixel(mask, rng))


def draw_superpixels(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one superpixel (SLIC), or one with some of its neighbours."""
    segments = slic(image, int(rng.integers(8, 60)), compactness=rng.uniform(0.02, 0.2), channel_axis=None)
    mask = segments == rng.choice(np.unique(segments))
    for _ in range(int(rng.integers(0, 3))):
        neighbours = np.unique(segments[ndimage.binary_dilation(mask) & ~mask])
        if len(neighbours):
            mask |= segments == rng.choice(neighbours)
    return mask


def draw_blob(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random smooth region of the image's shape, from a few pixels to a third of it."""
    noise = rng.standard_normal(image.shape)
    noise = ndimage.gaussian_filter(noise, rng.uniform(1, 1 + min(image.shape) / 6), mode="wrap")
    high = noise > np.quantile(noise, rng.uniform(0.7, 0.99))
    return _component_at(high, _choose_pixel(high, rng))


def paint_region(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the image (0 to 1) with the region brighter or darker, its edge blurred; dark regions get brighter."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), rng.uniform(0.3, 1.0))
    grey = image[mask].mean()
    sign = rng.choice([-1, 1]) if 0.3 < grey < 0.7 else np.sign(0.5 - grey)
    return np.clip(image + soft * sign * rng.uniform(0.15, 0.6), 0, 1)


FROM_THE_IMAGE: tuple[Draw, ...] = (draw_intensity_band, draw_tissue, draw_superpixels)


def draw_masks(image: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the image, into which a share of the masks is painted as blobs, and the masks.

    Args:
        image: `(H, W)`, 0 to 1.

    Returns:
        `(H, W)` and booleans `(count, H, W)`; a quarter of the masks (on average) are blobs.
    """
    masks = [draw_usable_mask(draw_blob, image, rng) for _ in range(int(rng.binomial(count, 0.25)))]
    for mask in masks:
        image = paint_region(image, mask, rng)
    while len(masks) < count:
        try:
            mask = draw_usable_mask(FROM_THE_IMAGE[rng.integers(len(FROM_THE_IMAGE))], image, rng)
        except ValueError:  # such as air: too few grey values for Otsu's thresholds, or no pixel to start from
            mask = draw_usable_mask(draw_blob, image, rng)
            image = paint_region(image, mask, rng)
        masks.append(mask)
    return image, np.stack(masks)


def draw_usable_mask(draw: Draw, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw until a mask has a usable size; raises `ValueError` after `ATTEMPTS`."""
    for _ in range(ATTEMPTS):
        mask = draw(image, rng)
        if SMALLEST <= mask.sum() <= LARGEST * mask.size:
            return mask
    raise ValueError("this image yields no region of a usable size")


def _choose_pixel(where: np.ndarray, rng: np.random.Generator) -> tuple[int, ...]:
    places = np.argwhere(where)
    if not len(places):
        raise ValueError("no pixel to start from")
    return tuple(int(edge) for edge in places[rng.integers(len(places))])


def _component_at(mask: np.ndarray, pixel: tuple[int, ...]) -> np.ndarray:
    components, _ = ndimage.label(mask)
    return components == components[pixel]
