"""SAMGuide: what frozen SAM makes of a patch and a learned dense prompt."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from ser_nnunet.sam.checkpoint import freeze

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

# Intensities outside these quantiles are clipped before scaling to 0-255, so that one bright voxel doesn't darken the
# picture (the range that MedSAM's preprocessing uses).
QUANTILES = (0.005, 0.995)


def to_rgb(patch: torch.Tensor, channels: Sequence[int]) -> torch.Tensor:
    """Return SAM's picture of a patch: `(B, C, H, W)` of any range -> `(B, 3, H, W)` in 0-255.

    Args:
        channels: one channel, shown three times over (the paper), or three as red, green and blue. Each is scaled by
            its own quantiles within the slice; a constant channel becomes 0.
    """
    if len(channels) not in (1, 3):
        raise ValueError(f"SAM sees one channel or three as RGB, {len(channels)} given: {tuple(channels)}")
    picture = patch[:, list(channels)].float()
    bounds = torch.quantile(picture.flatten(2), torch.tensor(QUANTILES, device=patch.device), dim=2)[..., None, None]
    span = (bounds[1] - bounds[0]).clamp_min(1e-6)
    return ((picture - bounds[0]) / span).clamp(0, 1).mul(255).expand(-1, 3, -1, -1)


def full_precision(device_type: str) -> AbstractContextManager:
    """Switch autocast off, on devices that have it (the meta device, which counts operations, has none)."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


class SAMGuide:
    """Frozen SAM as a teacher: `guide(patch, prompt, channels)` -> mask logits, differentiable in the prompt alone.

    With SAM's no-mask embedding as prompt, the result is `SamPredictor`'s tensor path without prompts
    (`set_torch_image`, `predict_torch(..., multimask_output=False, return_logits=True)`) for the same picture.

    Not a `torch.nn.Module`: nothing of SAM may end up among the network's parameters or in a checkpoint.
    """

    def __init__(self, sam: Sam) -> None:
        self.sam = freeze(sam)

    @property
    def image_size(self) -> int:
        """Edge in pixels of the square at which SAM sees a patch."""
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
        picture = self._picture(to_rgb(patch, channels))
        embedding = self.embed(picture)
        size = tuple(patch.shape[2:])
        # In full precision, also where the caller's autocast is on: SAM's position encoding loses too much in half,
        # and the decoder takes a small part of the encoder's time.
        with full_precision(patch.device.type):
            masks = self._decode(embedding.float(), self.place(prompt.float(), tuple(picture.shape[2:])))
            masks = self.sam.postprocess_masks(masks.flatten(0, 1), tuple(picture.shape[2:]), size)
        return masks.unflatten(0, prompt.shape[:2])[:, :, 0]

    def _picture(self, rgb: torch.Tensor) -> torch.Tensor:
        """Resize `(B, 3, H, W)` so that its longest side is SAM's image size.

        By hand, because `ResizeLongestSide.apply_image_torch` of segment-anything 1.0 takes batch and channels for the
        image's height and width.
        """
        from segment_anything.utils.transforms import ResizeLongestSide

        size = ResizeLongestSide.get_preprocess_shape(rgb.shape[2], rgb.shape[3], self.image_size)
        return F.interpolate(rgb, size=size, mode="bilinear", align_corners=False, antialias=True)

    @torch.no_grad()
    def embed(self, picture: torch.Tensor) -> torch.Tensor:
        """Return SAM's image embedding `(B, 256, grid, grid)` of a resized 0-255 picture `(B, 3, <=size, <=size)`.

        One image at a time: a global attention matrix of ViT-B at 1024 pixels alone takes 0.8 GB in float32.
        """
        return torch.cat([self.sam.image_encoder(image) for image in self.sam.preprocess(picture).split(1)])

    def place(self, prompt: torch.Tensor, picture_size: tuple[int, ...]) -> torch.Tensor:
        """Resample prompts onto the part of SAM's grid where the image lies; SAM's no-mask embedding fills the rest."""
        height, width = self.sam.prompt_encoder.image_embedding_size
        filled = [-(-edge * grid // self.image_size) for edge, grid in zip(picture_size, (height, width), strict=True)]
        placed = F.interpolate(prompt.flatten(0, 1), size=filled, mode="bilinear", align_corners=False)
        empty = self.sam.prompt_encoder.no_mask_embed.weight.to(placed.dtype).reshape(1, -1, 1, 1)
        canvas = empty.expand(len(placed), -1, height, width).clone()
        canvas[..., : filled[0], : filled[1]] = placed
        return canvas.unflatten(0, prompt.shape[:2])

    def _decode(self, embedding: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        """Return low-resolution logits `(B, P, 1, 4 * grid, 4 * grid)` of all images and prompts at once.

        SAM's decoder takes one image and repeats it for every prompt before adding the two. Adding them here and
        handing it a zero image gives the same sum for a whole batch of images.
        """
        dense = (embedding[:, None] + prompt).flatten(0, 1)
        masks, _ = self.sam.mask_decoder(
            image_embeddings=torch.zeros_like(dense[:1]),
            image_pe=self.sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=dense.new_empty(len(dense), 0, dense.shape[1]),
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        return masks.unflatten(0, prompt.shape[:2])
