"""What SAM sees of a patch: RGB with tissue in grey and background in black."""

from __future__ import annotations

from collections.abc import Sequence

import torch

# Intensities outside these quantiles are clipped before scaling to 0-255, so that a few bright voxels don't determine
# the contrast of the rest (the range that MedSAM's preprocessing uses).
QUANTILES = (0.005, 0.995)


def find_background(picture: torch.Tensor, masked: Sequence[bool]) -> torch.Tensor:
    """Return where channels hold nothing of the image: booleans of the picture's shape `(B, C, H, W)`.

    nnU-Net normalises intensities around 0, so that what it fills with 0 looks like tissue of mean intensity:

    * outside the nonzero mask of a `masked` channel: nnU-Net's `MaskImageTransform` sets the channel to exactly 0
      there, after all other augmentation of intensities;
    * where a patch extends beyond the image. In the other channels nnU-Net augments this padding with the image: a
      first or last row or column of a single value shows it, and all pixels of that value are background. The
      brightest value is not (white margins). Padding under augmentation by noise is not found, and padding in the
      corners of a rotated patch only if it also fills a whole row or column of the patch's edge.

    Args:
        picture: intensities that nnU-Net has normalised and augmented.
        masked: per channel, whether nnU-Net normalised it inside the nonzero mask (the plan's `use_mask_for_norm`).
    """
    background = (picture == 0) & torch.tensor(masked, device=picture.device)[:, None, None]
    brightest = picture.amax((2, 3), keepdim=True)
    for line in (picture[:, :, :1], picture[:, :, -1:], picture[..., :1], picture[..., -1:]):
        value = line.amin((2, 3), keepdim=True)
        padding = (value == line.amax((2, 3), keepdim=True)) & (value < brightest)
        background |= padding & (picture == value)
    return background


def to_rgb(patch: torch.Tensor, channels: Sequence[int], masked_channels: Sequence[int] = ()) -> torch.Tensor:
    """Return SAM's RGB input for a patch: `(B, C, H, W)` of any intensity range -> `(B, 3, H, W)` in 0-255.

    Args:
        channels: one channel, repeated three times (the paper), or three as red, green and blue. Each is scaled by
            its own quantiles within the slice, background excluded; background and a constant channel become 0.
        masked_channels: the channels of the patch that are exactly 0 outside nnU-Net's nonzero mask; there, as in
            nnU-Net's padding, is background (see `find_background`).

    Raises:
        ValueError: neither one nor three channels.
    """
    if len(channels) not in (1, 3):
        raise ValueError(f"SAM takes one channel or three as RGB, {len(channels)} given: {tuple(channels)}")
    picture = patch[:, list(channels)].float()
    background = find_background(picture, [channel in masked_channels for channel in channels])
    # a channel without image in this slice has no quantiles (NaN); it is filled with 0 below
    inside = picture.masked_fill(background, torch.nan).flatten(2)
    bounds = torch.nanquantile(inside, torch.tensor(QUANTILES, device=patch.device), dim=2)[..., None, None]
    span = (bounds[1] - bounds[0]).clamp_min(1e-6)
    scaled = ((picture - bounds[0]) / span).clamp(0, 1).mul(255)
    return scaled.masked_fill(background, 0).expand(-1, 3, -1, -1)
