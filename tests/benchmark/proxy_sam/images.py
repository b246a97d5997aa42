"""Masks and images for the tests of the proxy SAM."""

import numpy as np
import torch

from ser_nnunet.benchmark.proxy_sam.training_slices import SliceSource


def square():
    """Return a 64 x 64 mask: rows 10 to 19, columns 30 to 49."""
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[0, 10:20, 30:50] = True
    return mask


def inside():
    """Return where an image lies that fills the left 50 of 64 columns; the rest is padding."""
    area = torch.zeros(1, 64, 64, dtype=torch.bool)
    area[..., :50] = True
    return area


class DiscSource(SliceSource):
    """Slices without a data set: a bright disc on a dark background."""

    def draw_slice(self, rng):
        rows, columns = np.mgrid[:32, :24]
        centre = rng.uniform(10, 14, 2)
        disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 36
        return np.where(disc, 0.8, 0.2) + rng.normal(0, 0.02, (32, 24)).clip(-0.1, 0.1), None


def disc_source():
    """Return slices of 32 x 24 pixels with one disc each."""
    return DiscSource(None, (), (32, 24))
