"""SAMGuide: the mask logits of frozen SAM for a patch and learned dense prompts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from ser_nnunet.sam.checkpoint import freeze

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

# Intensities outside these quantiles are clipped before scaling to 0-255, so that a few bright voxels don't determine
# the contrast of the rest (the range that MedSAM's preprocessing uses).
QUANTILES = (0.005, 0.995)


def to_rgb(patch: torch.Tensor, channels: Sequence[int]) -> torch.Tensor:
    """Return SAM's RGB input for a patch: `(B, C, H, W)` of any intensity range -> `(B, 3, H, W)` in 0-255.

    Args:
        channels: one channel, repeated three times (the paper), or three as red, green and blue. Each is scaled by
            its own quantiles within the slice; a constant channel becomes 0.

    Raises:
        ValueError: neither one nor three channels.
    """
    if len(channels) not in (1, 3):
        raise ValueError(f"SAM takes one channel or three as RGB, {len(channels)} given: {tuple(channels)}")
    picture = patch[:, list(channels)].float()
    bounds = torch.quantile(picture.flatten(2), torch.tensor(QUANTILES, device=patch.device), dim=2)[..., None, None]
    span = (bounds[1] - bounds[0]).clamp_min(1e-6)
    return ((picture - bounds[0]) / span).clamp(0, 1).mul(255).expand(-1, 3, -1, -1)


def disable_autocast(device_type: str) -> AbstractContextManager[Any]:
    """Return a context without autocast, for any device (the meta device, used to count operations, has none)."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


class SAMGuide:
    """Frozen SAM: `guide(patch, prompt, channels)` -> mask logits, differentiable in the prompt alone.

    With SAM's no-mask embedding as prompt, the result is `SamPredictor`'s tensor path without prompts
    (`set_torch_image`, `predict_torch(..., multimask_output=False, return_logits=True)`) for the same picture.

    Not a `torch.nn.Module`, so that SAM's weights are neither among the network's parameters nor in its checkpoints.
    """

    def __init__(self, sam: Sam) -> None:
        self.sam = freeze(sam)

    @property
    def image_size(self) -> int:
        """Edge in pixels of SAM's square input."""
        return int(self.sam.image_encoder.img_size)

    def __call__(self, patch: torch.Tensor, prompt: torch.Tensor, channels: Sequence[int] = (0,)) -> torch.Tensor:
        """Return SAM's mask logits on the patch's grid.

        Args:
            patch: `(B, C, H, W)`, any intensity range.
            prompt: dense prompt embeddings `(B, P, 256, h, w)` on any grid that covers the patch.
            channels: the image channels that SAM sees, one or three (see `to_rgb`).

        Returns:
            Logits `(B, P, H, W)`, one mask per prompt.
        """
        from segment_anything.utils.transforms import ResizeLongestSide

        size = (patch.shape[2], patch.shape[3])
        # Not by `ResizeLongestSide.apply_image_torch`: segment-anything 1.0 takes batch and channels for the image's
        # height and width there.
        resized_size = ResizeLongestSide.get_preprocess_shape(*size, self.image_size)
        picture = F.interpolate(
            to_rgb(patch, channels), size=resized_size, mode="bilinear", align_corners=False, antialias=True
        )
        embedding = self.embed(picture)
        # In full precision, also where the caller's autocast is on: SAM's position encoding loses too much in half,
        # and the decoder takes a small part of the encoder's time.
        with disable_autocast(patch.device.type):
            masks = self.decode(embedding.float(), self.place_prompts(prompt.float(), resized_size))
            masks = self.sam.postprocess_masks(masks.flatten(0, 1), resized_size, size)
        return masks.reshape(*prompt.shape[:2], *size)

    @torch.no_grad()
    def embed(self, picture: torch.Tensor) -> torch.Tensor:
        """Return SAM's image embedding `(B, 256, grid, grid)` of a resized 0-255 picture `(B, 3, <=size, <=size)`.

        Images are encoded one by one: a global attention matrix of ViT-B at 1024 pixels takes 0.8 GB in float32.
        """
        return torch.cat([self.sam.image_encoder(image) for image in self.sam.preprocess(picture).split(1)])

    def place_prompts(self, prompt: torch.Tensor, picture_size: tuple[int, ...]) -> torch.Tensor:
        """Resample prompts onto the part of SAM's grid that the image covers; the rest is SAM's no-mask embedding."""
        height, width = self.sam.prompt_encoder.image_embedding_size
        filled = [-(-edge * grid // self.image_size) for edge, grid in zip(picture_size, (height, width), strict=True)]
        placed = F.interpolate(prompt.flatten(0, 1), size=filled, mode="bilinear", align_corners=False)
        empty = self.sam.prompt_encoder.no_mask_embed.weight.to(placed.dtype).reshape(1, -1, 1, 1)
        canvas = empty.expand(len(placed), -1, height, width).clone()
        canvas[..., : filled[0], : filled[1]] = placed
        return canvas.reshape(*prompt.shape[:2], *canvas.shape[1:])

    def decode(self, embedding: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        """Return low-resolution logits `(B, P, 1, 4 * grid, 4 * grid)` of all images and prompts.

        SAM's decoder repeats one image embedding for every prompt and adds the two. Here the sum is computed first and
        passed as the prompt of a zero image embedding, which gives the same result for a whole batch of images.
        """
        dense = (embedding[:, None] + prompt).flatten(0, 1)
        masks: torch.Tensor = self.sam.mask_decoder(
            image_embeddings=torch.zeros_like(dense[:1]),
            image_pe=self.sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=dense.new_empty(len(dense), 0, dense.shape[1]),
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )[0]
        return masks.reshape(*prompt.shape[:2], *masks.shape[1:])
