"""Dummy SAM: a small model of SAM's architecture with random weights, for tests and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ser_nnunet.errors import UserError
from ser_nnunet.sam.architecture import SamArchitecture, build
from ser_nnunet.utils.files import replacing

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


def build_dummy_sam(
    seed: int = 0,
    embed_dim: int = 32,
    depth: int = 2,
    num_heads: int = 2,
    image_size: int = 256,
    window_size: int = 4,
    global_attn_indexes: tuple[int, ...] = (1,),
) -> Sam:
    """Build a small SAM of segment_anything's own modules with random weights, in eval mode.

    It has the parts and tensor names of ViT-B (prompt width 256, three masks and one, IoU head) with an image encoder
    of about 0.4 M instead of 90 M parameters; prompt encoder and mask decoder have SAM's size. As its weights are
    random, **guidance by it carries no information** about images.

    Args:
        seed: of the weights; torch's global random state is not changed.
        embed_dim: width of the image encoder, a multiple of `num_heads`.
        depth: number of blocks of the image encoder.
        num_heads: attention heads of each block.
        image_size: edge in pixels of its square input, a multiple of 16; SAM's own is 1024.
        window_size: edge of the attention windows in tokens; SAM's own is 14.
        global_attn_indexes: blocks (from 0) that attend over the whole image instead.

    Returns:
        A model of the class that `segment_anything.sam_model_registry[...]()` returns.

    Raises:
        UserError: segment-anything isn't installed.
    """
    sizes = SamArchitecture(
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        global_blocks=global_attn_indexes,
        image_size=image_size,
        window_size=window_size,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            sam = build(sizes)
        except ImportError as error:
            raise UserError(
                f"the dummy SAM needs segment-anything, which can't be imported ({error}): "
                "pip install 'ser-nnunet[sam]'"
            ) from error
        # SAM's modules initialise these with zeros, which would hide an error in reading them from a checkpoint.
        for name, weight in sam.image_encoder.named_parameters():
            if "pos" in name:
                torch.nn.init.normal_(weight, std=0.02)
    return sam


def write_dummy_sam(path: str | Path, seed: int = 0) -> Path:
    """Write a dummy SAM's state dict as a .pth file, the format of the official checkpoints; return its path."""
    with replacing(Path(path)) as unfinished:
        torch.save(build_dummy_sam(seed).state_dict(), unfinished)
    return Path(path)
