"""Signal of FLAIR, T1 and T2 from tissue, with coil bias and Rician noise."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ser_nnunet.demo.anatomy import Brain, block_mean, smooth_noise

CHANNELS = ("FLAIR", "T1", "T2")

TISSUE_SIGNAL = {"FLAIR": (1.22, 1.0, 0.30), "T1": (0.78, 1.0, 0.30), "T2": (1.40, 1.0, 2.90)}
"""Median of grey matter, white matter and fluid over white matter's, as measured on some MSLesSeg scans (CC BY 4.0)."""

LESION_SIGNAL = {"FLAIR": 1.75, "T1": 0.80, "T2": 1.75}
"""The same ratio for the inside of lesions."""

DISTRACTOR_SIGNAL = {"FLAIR": 0.5, "T1": 0.0, "T2": 0.15}
"""Signal added by bright spots that are not lesions, almost only on FLAIR."""

NOISE = {"FLAIR": 0.05, "T1": 0.04, "T2": 0.07}
"""Standard deviation of the noise over white matter's signal, in the range of those scans at 1 mm."""

BIAS = 0.12
"""Standard deviation of the logarithm of the coil's bias field."""


def simulate_channel(
    rng: np.random.Generator,
    channel: str,
    brain: Brain,
    lesion: np.ndarray,
    vessel: np.ndarray,
    distractor: np.ndarray,
) -> np.ndarray:
    """Return one channel of one scan, `(x, y, z)` float32, 0 outside the brain.

    Args:
        rng: random number generator for the scanner's scale, contrast, bias, noise, and the edge of the brain mask.
        channel: FLAIR, T1 or T2.
        brain: the tissue on the fine grid.
        lesion: lesion signal on the fine grid, 0 for none, about 1 for a lesion.
        vessel: share of vessel-like, fluid-filled spaces on the fine grid.
        distractor: strength of bright spots that are not lesions on the fine grid.
    """
    grey, white, fluid = (value * rng.normal(1, 0.02) for value in TISSUE_SIGNAL[channel])
    table = np.array([grey, white, fluid, 0.0], np.float32)  # the last for -1, outside
    signal = table[brain.tissue]
    signal += lesion * (LESION_SIGNAL[channel] * rng.normal(1, 0.03) - signal)
    signal += 0.03 * smooth_noise(rng, signal.shape, brain.spacing, 6.0) * (brain.tissue >= 0)
    signal += 0.7 * vessel * (fluid - signal)
    signal += distractor * DISTRACTOR_SIGNAL[channel]
    image = block_mean(ndimage.gaussian_filter(signal, 0.6))
    image *= np.exp(BIAS * smooth_noise(rng, image.shape, brain.spacing * 2, 70.0))
    # The magnitude of a signal with complex Gaussian noise has a Rician distribution, as in MRI.
    real, imaginary = rng.normal(0, NOISE[channel], size=(2, *image.shape)).astype(np.float32)
    image = np.hypot(image + real, imaginary)
    # Skull stripping gives a slightly different mask in each channel; intensities get an arbitrary scale.
    inside = block_mean(brain.tissue >= 0) > rng.uniform(0.3, 0.8)
    return (image * inside * rng.uniform(120, 500)).round(2).astype(np.float32)
