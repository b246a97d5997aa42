"""Boxes, points and masks as prompts, drawn from a mask as a user (or an earlier prediction) would give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

PROMPT_KINDS = ("point", "points", "box", "mask", "mask and point")
FOREGROUND = 1  # SAM's label of a point in the mask; 0 is one outside
JITTER = 0.1  # of a box's edges, relative to its size (as SAM's, appendix A, but uniform)
MASK_LOGIT = 10.0  # logits of a mask prompt lie between -10 and 10


def embed_prompts(
    sam: Sam, masks: torch.Tensor, inside: torch.Tensor, kind: str, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return SAM's sparse `(N, T, 256)` and dense `(N, 256, grid, grid)` embeddings of one prompt per mask.

    Args:
        masks: booleans `(N, size, size)` at SAM's image size, none of them empty.
        inside: booleans of the same shape, where the image lies and not its padding.
        kind: one of `PROMPT_KINDS`; `points` are three, about one of them on the background.
    """
    count = {"point": 1, "points": 3, "mask and point": 1}.get(kind, 0)
    points = draw_points(masks, inside, count, generator) if count else None
    boxes = draw_boxes(masks, inside, generator) if kind == "box" else None
    grid = 4 * sam.prompt_encoder.image_embedding_size[0]
    mask_prompts = draw_mask_prompts(masks, grid, generator) if kind.startswith("mask") else None
    return sam.prompt_encoder(
        None if points is None else (points[0].to(sam.device), points[1].to(sam.device)),
        None if boxes is None else boxes.to(sam.device),
        None if mask_prompts is None else mask_prompts.to(sam.device),
    )


def draw_points(
    masks: torch.Tensor, inside: torch.Tensor, count: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `count` points `(N, count, 2)` as x, y in pixels, and their labels; the first one lies in the mask."""
    labels = (torch.rand(len(masks), count, generator=generator) < 0.67).long()
    labels[:, 0] = FOREGROUND
    chance = torch.rand(len(masks), count, *masks.shape[1:], generator=generator)
    wanted = (masks[:, None] == (labels == FOREGROUND)[..., None, None]) & inside[:, None]
    index = (chance * wanted).flatten(2).argmax(2)
    width = masks.shape[2]
    return torch.stack([index % width, index // width], -1).float(), labels


def draw_boxes(masks: torch.Tensor, inside: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the bounding boxes `(N, 4)` as x, y, x, y in pixels, each edge moved by up to a tenth of the box."""
    boxes, frame = find_bounds(masks), find_bounds(inside)
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2) + 1
    moved = boxes + (torch.rand(boxes.shape, generator=generator) * 2 - 1) * JITTER * size
    return torch.minimum(moved.clamp_min(0), frame[:, 2:].repeat(1, 2))


def draw_mask_prompts(masks: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """Return logits `(N, 1, size, size)` of a blurred and displaced mask, like those of a poor prediction."""
    coarse = F.interpolate(masks[:, None].float(), size=(size, size), mode="area")
    shift = torch.randint(-1, 2, (2,), generator=generator).tolist()
    blurred = F.avg_pool2d(coarse.roll(shift, (2, 3)), 3, 1, 1)
    noise = F.avg_pool2d(torch.randn(blurred.shape, generator=generator), 5, 1, 2)
    return ((blurred - 0.4) * 4 + noise).clamp(-1, 1) * MASK_LOGIT


def find_bounds(masks: torch.Tensor) -> torch.Tensor:
    """Return the first and last pixel of masks `(N, size, size)` along both axes, `(N, 4)` as x, y, x, y."""
    lines = [masks.any(1).int(), masks.any(2).int()]  # columns, then rows
    first = [line.argmax(1) for line in lines]
    last = [line.shape[1] - 1 - line.flip(1).argmax(1) for line in lines]
    return torch.stack([*first, *last], 1).float()
