"""A SAM of toy size with random weights: it shows that the way works and knows nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ser_nnunet.errors import UserError

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

    It has the parts, names and shapes of the real one (prompt width 256, three masks and one, IoU head) with an image
    encoder of about 0.4 M instead of 90 M parameters; the prompt encoder and mask decoder are of SAM's size. It carries
    **no knowledge**: what a network learns through it, it could have learned without.

    Args:
        seed: of the weights; torch's global random state is left as it was.
        embed_dim: width of the image encoder, a multiple of `num_heads`.
        depth: its number of blocks.
        num_heads: attention heads of each block.
        image_size: side of the square it works on, in pixels; a multiple of 16. SAM's own is 1024.
        window_size: side of the attention windows in tokens; SAM's own is 14.
        global_attn_indexes: blocks (from 0) that attend over the whole image instead.

    Returns:
        Sam: what `segment_anything.sam_model_registry[...]()` would return.

    Raises:
        UserError: segment-anything isn't installed.
    """
    import torch

    from ser_nnunet.sam.architecture import SamArchitecture, build

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
                f"The toy SAM is built of segment_anything's modules, which could not be imported ({error}): "
                "pip install 'ser-nnunet[sam]'"
            ) from error
        # SAM's module starts these at zero, which would hide a mistake in reading them from a checkpoint.
        for name, weight in sam.image_encoder.named_parameters():
            if "pos" in name:
                torch.nn.init.normal_(weight, std=0.02)
    return sam


def write_dummy_sam(path: str | Path, seed: int = 0) -> Path:
    """Write a toy SAM's state dict as a .pth file, as the official checkpoints come; return its path."""
    import torch

    sam = build_dummy_sam(seed)
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(sam.state_dict(), file)
    return file
