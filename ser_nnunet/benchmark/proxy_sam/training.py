"""Train a small SAM of segment_anything's own modules to follow prompts, much as SAM's appendix A describes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from ser_nnunet.benchmark.benchmark_settings import PROXY_PARTS
from ser_nnunet.benchmark.proxy_sam.prompts import PROMPT_KINDS, embed_prompts
from ser_nnunet.benchmark.proxy_sam.training_slices import Batch, SliceSource, draw_batch
from ser_nnunet.sam.architecture import SamArchitecture, build

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

IMAGES, MASKS = 4, 4  # images per step, prompts per image
LEARNING_RATE, WEIGHT_DECAY, WARM_UP = 5e-4, 0.05, 50


def build_proxy(image_size: int, seed: int, device: str = "cpu") -> Sam:
    """Return an untrained proxy SAM: a small image encoder; prompt encoder and mask decoder are of SAM's size."""
    torch.manual_seed(seed)
    sizes = SamArchitecture(
        embed_dim=192, depth=5, num_heads=6, global_blocks=(1, 3, 4), image_size=image_size, window_size=8
    )
    return build(sizes).to(device).train()


def choose_trained(sam: Sam, part: str) -> None:
    """Let a part of the model have gradients, one of `PROXY_PARTS`, and the rest none."""
    sam.requires_grad_(False)
    sam.get_submodule(PROXY_PARTS[part]).requires_grad_(True)


@dataclass(frozen=True)
class Progress:
    """Loss and overlap of one step, and the kind of its prompts."""

    step: int
    kind: str
    loss: float
    overlap: float
    """Mean IoU of the predicted masks with the reference masks."""


def train_proxy(sam: Sam, sources: list[SliceSource], steps: int, seed: int) -> Iterator[Progress]:
    """Train the parameters that have gradients, in place; yield loss and overlap after every step."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    trained = [parameter for parameter in sam.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    image_size = sam.image_encoder.img_size
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * scale_rate(step, steps)
        kind = PROMPT_KINDS[step % len(PROMPT_KINDS)]
        batch = draw_batch(sources, IMAGES, MASKS, image_size, rng)
        loss, overlap = compute_loss(sam, batch, kind, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        yield Progress(step, kind, float(loss.detach()), overlap)


def scale_rate(step: int, steps: int) -> float:
    """Return the factor of the learning rate: linear warm-up, then half a cosine."""
    warm_up = min(WARM_UP, steps // 4 + 1)
    return min(1.0, (step + 1) / warm_up) * (1 + math.cos(math.pi * step / steps)) / 2


def compute_loss(sam: Sam, batch: Batch, kind: str, generator: torch.Generator) -> tuple[torch.Tensor, float]:
    """Return the loss of one batch and the mean IoU of the chosen masks.

    Several prompts ask for the one mask token that SAM uses without ambiguity; a single point is ambiguous
    and is judged by the best of the three others (SAM, section 3).
    """
    reference, count = batch.masks.flatten(0, 1), batch.masks.shape[1]
    sparse, dense = embed_prompts(sam, reference, batch.inside.repeat_interleave(count, 0), kind, generator)
    logits, quality = decode_prompts(sam, batch.images.to(sam.device), count, sparse, dense)
    target = F.interpolate(reference[:, None].to(logits), size=logits.shape[2:], mode="area")
    losses = compute_mask_losses(logits, target.expand_as(logits))
    overlaps = compute_iou(logits.detach() > 0, target > 0.5)
    own, others = losses[:, 0], losses[:, 1:].min(1).values
    loss = (others + 0.25 * own if kind == "point" else own + 0.25 * others).mean()
    chosen = overlaps[:, 1:].max(1).values if kind == "point" else overlaps[:, 0]
    return loss + F.mse_loss(quality, overlaps), float(chosen.mean())


def decode_prompts(
    sam: Sam, images: torch.Tensor, masks: int, sparse: torch.Tensor, dense: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mask logits `(N, 4, 4 grid, 4 grid)` and predicted IoUs `(N, 4)` of all images' prompts at once.

    As in `SAMGuide`: SAM's decoder takes one image, so each image's embedding is added to its dense prompts outside.
    """
    embedding = sam.image_encoder(sam.preprocess(images)).repeat_interleave(masks, 0)
    return sam.mask_decoder.predict_masks(
        image_embeddings=torch.zeros_like(embedding[:1]),
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=embedding + dense,
    )


def compute_mask_losses(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return cross-entropy plus Dice loss of each mask, `(N, M, h, w)` -> `(N, M)`; targets may be soft.

    SAM's own focal loss kept predicting empty masks for a single box or point within a thousand steps (tried).
    """
    probability = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((2, 3))
    overlap = 2 * (probability * target).sum((2, 3)) + 1
    return entropy + 1 - overlap / (probability.sum((2, 3)) + target.sum((2, 3)) + 1)


def compute_iou(predicted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the intersection over union of booleans, `(N, M, h, w)` -> `(N, M)`."""
    both, either = (predicted & reference).sum((2, 3)), (predicted | reference).sum((2, 3))
    return both / either.clamp_min(1)
