"""The sizes of a SAM-architecture checkpoint, read from its weights, and a model of these sizes.

Source: Kirillov et al., "Segment Anything", arXiv 2304.02643; the modules are `segment_anything.modeling`'s own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

Weights = dict[str, torch.Tensor]

# Not stored in any checkpoint: the constants of segment_anything.build_sam that every published SAM shares.
DECODER_HEADS = 8
PIXEL_MEAN = [123.675, 116.28, 103.53]
PIXEL_STD = [58.395, 57.12, 57.375]


@dataclass(frozen=True, kw_only=True)
class SamArchitecture:
    """All sizes of a SAM, named as in `segment_anything`; the defaults are those that ViT-B, -L and -H share.

    `window_size` is 0 where every block attends globally.
    """

    embed_dim: int
    depth: int
    num_heads: int
    global_blocks: tuple[int, ...]
    image_size: int = 1024
    patch_size: int = 16
    window_size: int = 14
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    prompt_dim: int = 256
    mask_in_chans: int = 16
    decoder_depth: int = 2
    decoder_mlp_dim: int = 2048
    multimask_outputs: int = 3
    iou_head_depth: int = 3
    iou_head_hidden_dim: int = 256

    @property
    def grid(self) -> int:
        """Edge of the image embedding in tokens."""
        return self.image_size // self.patch_size


def read_architecture(weights: Weights) -> SamArchitecture:
    """Read all sizes from a SAM's state dict.

    Raises:
        KeyError: a tensor of SAM's image encoder, prompt encoder or mask decoder is missing.
    """
    projection = weights["image_encoder.patch_embed.proj.weight"]
    grid = weights["image_encoder.pos_embed"].shape[1]
    depth = _count(weights, "image_encoder.blocks.")
    spans = [(weights[f"image_encoder.blocks.{block}.attn.rel_pos_h"].shape[0] + 1) // 2 for block in range(depth)]
    head_dim = weights["image_encoder.blocks.0.attn.rel_pos_h"].shape[1]
    embed_dim, patch_size = projection.shape[0], projection.shape[-1]
    return SamArchitecture(
        embed_dim=embed_dim,
        depth=depth,
        num_heads=embed_dim // head_dim,
        mlp_ratio=weights["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / embed_dim,
        patch_size=patch_size,
        image_size=grid * patch_size,
        window_size=next((span for span in spans if span != grid), 0),
        global_blocks=tuple(block for block, span in enumerate(spans) if span == grid),
        qkv_bias="image_encoder.blocks.0.attn.qkv.bias" in weights,
        prompt_dim=weights["image_encoder.neck.0.weight"].shape[0],
        mask_in_chans=weights["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        decoder_depth=_count(weights, "mask_decoder.transformer.layers."),
        decoder_mlp_dim=weights["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
        multimask_outputs=weights["mask_decoder.mask_tokens.weight"].shape[0] - 1,
        iou_head_depth=_count(weights, "mask_decoder.iou_prediction_head.layers."),
        iou_head_hidden_dim=weights["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
    )


def _count(weights: Weights, prefix: str) -> int:
    """Return the number of modules in the list whose tensor names begin with `prefix`."""
    return len({key[len(prefix) :].split(".")[0] for key in weights if key.startswith(prefix)})


def build(architecture: SamArchitecture) -> Sam:
    """Return a randomly initialised SAM of these sizes, in eval mode."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    a = architecture
    encoder = ImageEncoderViT(
        depth=a.depth,
        embed_dim=a.embed_dim,
        img_size=a.image_size,
        mlp_ratio=a.mlp_ratio,
        norm_layer=cast("type[torch.nn.Module]", partial(torch.nn.LayerNorm, eps=1e-6)),  # as in build_sam
        num_heads=a.num_heads,
        patch_size=a.patch_size,
        qkv_bias=a.qkv_bias,
        use_rel_pos=True,
        global_attn_indexes=a.global_blocks,
        window_size=a.window_size,
        out_chans=a.prompt_dim,
    )
    prompts = PromptEncoder(
        embed_dim=a.prompt_dim,
        image_embedding_size=(a.grid, a.grid),
        input_image_size=(a.image_size, a.image_size),
        mask_in_chans=a.mask_in_chans,
    )
    transformer = TwoWayTransformer(
        depth=a.decoder_depth, embedding_dim=a.prompt_dim, mlp_dim=a.decoder_mlp_dim, num_heads=DECODER_HEADS
    )
    decoder = MaskDecoder(
        transformer_dim=a.prompt_dim,
        transformer=transformer,
        num_multimask_outputs=a.multimask_outputs,
        iou_head_depth=a.iou_head_depth,
        iou_head_hidden_dim=a.iou_head_hidden_dim,
    )
    return Sam(encoder, prompts, decoder, PIXEL_MEAN, PIXEL_STD).eval()


def resample(weights: Weights, architecture: SamArchitecture, image_size: int) -> tuple[Weights, SamArchitecture]:
    """Return the weights and sizes for another image size, a multiple of the patch size.

    The absolute position embedding is interpolated bicubically and the global blocks' relative ones linearly (as
    SAM's own attention does at other sizes); windows keep theirs.
    """
    a = architecture
    if image_size == a.image_size:
        return weights, a
    grid = image_size // a.patch_size
    resampled = dict(weights)
    position = weights["image_encoder.pos_embed"].float().permute(0, 3, 1, 2)
    position = F.interpolate(position, size=(grid, grid), mode="bicubic", align_corners=False)
    resampled["image_encoder.pos_embed"] = position.permute(0, 2, 3, 1)
    for block in a.global_blocks:
        for axis in "hw":
            key = f"image_encoder.blocks.{block}.attn.rel_pos_{axis}"
            table = weights[key].float().t()[None]
            resampled[key] = F.interpolate(table, size=2 * grid - 1, mode="linear")[0].t()
    return resampled, replace(a, image_size=image_size)
