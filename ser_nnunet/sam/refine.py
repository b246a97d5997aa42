"""SAM prompted by a network's own output: its masks of what the network has found."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ser_nnunet.sam.guide import NO_MASK, SAMGuide, disable_autocast

MASK_LOGIT = 10.0  # mask prompts lie between -10 and 10, about as SAM's own low-resolution masks


@torch.no_grad()
def refine(guide: SAMGuide, embedding: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return SAM's mask logits of an image for masks that are given as prompts, each with its bounding box.

    Both are what SAM was trained on: a box, and an earlier mask's logits (SAM, section 3).

    Args:
        guide: SAM; its image encoder isn't needed.
        embedding: of the whole image, `(256, grid, grid)`.
        logits: of masks to refine, `(P, H, W)`; a mask without a positive pixel stays empty.

    Returns:
        Logits `(P, H, W)`.
    """
    size = (logits.shape[1], logits.shape[2])
    found = (logits > 0).flatten(1).any(1)
    masks = torch.full_like(logits, NO_MASK, dtype=torch.float32)
    if not found.any():
        return masks
    rows, columns = guide.resized_size(size)
    canvas = logits.new_full((int(found.sum()), 1, guide.image_size, guide.image_size), -MASK_LOGIT)
    resized = F.interpolate(logits[found][:, None].float(), (rows, columns), mode="bilinear", align_corners=False)
    canvas[..., :rows, :columns] = resized.clamp(-MASK_LOGIT, MASK_LOGIT)
    boxes = torch.stack([bounding_box(mask[0]) for mask in canvas])
    encoder = guide.sam.prompt_encoder
    low = F.interpolate(canvas, encoder.mask_input_size, mode="area")
    with disable_autocast(logits.device.type):
        sparse, dense = encoder(None, boxes, low)
        refined = guide.sam.mask_decoder(
            image_embeddings=embedding[None].float(),
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )[0]
        masks[found] = guide.sam.postprocess_masks(refined, (rows, columns), size)[:, 0]
    return masks


def bounding_box(mask: torch.Tensor) -> torch.Tensor:
    """Return `x, y, x, y` of the positive pixels of `(H, W)`; of all pixels if there is none, as after resizing."""
    inside = mask > 0 if (mask > 0).any() else torch.ones_like(mask, dtype=torch.bool)
    rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
    return torch.stack([columns[0, 0], rows[0, 0], columns[-1, 0], rows[-1, 0]]).float()
