"""SAMGuide: the mask logits of frozen SAM for a patch and learned dense prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F

from ser_nnunet.sam.checkpoint import freeze
from ser_nnunet.sam.picture import to_rgb

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


NO_MASK = -10.0  # logit where there is no image: a probability of 0.00005


def token_weights(cells: int, filled: float) -> torch.Tensor:
    """Return how SAM's tokens along one axis are averaged from a prompt's cells: bilinear weights with antialiasing.

    The image may end inside a token. The scale is therefore the exact number of tokens per cell, and the last token
    reads beyond the image, where the last cell is repeated. Where tokens are larger than cells, antialiasing lets
    every cell contribute.

    Args:
        cells: the prompt's cells along the axis, which share the image evenly.
        filled: tokens that the image covers, not rounded.

    Returns:
        Weights `(tokens, cells)`, `filled` tokens rounded up; each row's sum is 1.
    """
    scale = filled / cells
    # interpolate() rounds its result's size down, hence one token more, and one cell against rounding errors
    beyond = math.ceil(1 / scale) + 1
    every_cell = F.pad(torch.eye(cells)[None, None], (0, beyond, 0, 0), mode="replicate")  # a prompt for each, as rows
    weights = F.interpolate(
        every_cell,
        scale_factor=(1.0, scale),
        mode="bilinear",
        align_corners=False,
        recompute_scale_factor=False,
        antialias=True,
    )
    return weights[0, 0, :, : math.ceil(filled)].T


def disable_autocast(device_type: str) -> AbstractContextManager[Any]:
    """Return a context without autocast, for any device (the meta device, used to count operations, has none)."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


class Part(NamedTuple):
    """Where a part of an image lies.

    Attributes:
        size: rows and columns of the image.
        first: the part's first row and column, multiples of the prompts' stride.
    """

    size: tuple[int, int]
    first: tuple[int, int]


class SAMGuide:
    """Frozen SAM: `guide(patch, prompt, channels, masked_channels)` -> mask logits, differentiable in the prompt alone.

    SAM sees tissue as greys between the slice's own quantiles, and what is outside of nnU-Net's nonzero mask or of the
    image as black (see `to_rgb`). Prompts lie on SAM's grid where the image does, to a fraction of a pixel of the patch
    (see `place_prompts`).

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

    def release_encoder(self) -> None:
        """Free the image encoder's memory; embeddings that are kept can still be decoded."""
        released = torch.nn.Identity()
        released.img_size = self.image_size  # type: ignore[assignment]
        self.sam.image_encoder = released  # type: ignore[assignment]

    def __call__(
        self,
        patch: torch.Tensor,
        prompt: torch.Tensor,
        channels: Sequence[int] = (0,),
        masked_channels: Sequence[int] = (),
    ) -> torch.Tensor:
        """Return SAM's mask logits on the patch's grid.

        Args:
            patch: `(B, C, H, W)`, any intensity range.
            prompt: dense prompt embeddings `(B, P, 256, h, w)` on any grid whose cells share the patch evenly.
            channels: the image channels that SAM sees, one or three (see `to_rgb`).
            masked_channels: the channels that are exactly 0 outside nnU-Net's nonzero mask (see `to_rgb`).

        Returns:
            Logits `(B, P, H, W)`, one mask per prompt.
        """
        size = (patch.shape[2], patch.shape[3])
        resized_size = self.resized_size(size)
        embedding = self.encode(patch, channels, masked_channels)
        # In full precision, also where the caller's autocast is on: SAM's position encoding loses too much in half,
        # and the decoder takes a small part of the encoder's time.
        with disable_autocast(patch.device.type):
            masks = self.decode(embedding.float(), self.place_prompts(prompt.float(), resized_size))
            masks = self.sam.postprocess_masks(masks.flatten(0, 1), resized_size, size)
        return masks.reshape(*prompt.shape[:2], *size)

    def resized_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the rows and columns that an image of `size` has in SAM's input, whose longest side it fills."""
        from segment_anything.utils.transforms import ResizeLongestSide

        # Not by `ResizeLongestSide.apply_image_torch`: segment-anything 1.0 takes batch and channels for the image's
        # height and width there.
        rows, columns = ResizeLongestSide.get_preprocess_shape(*size, self.image_size)
        return rows, columns

    def encode(
        self, image: torch.Tensor, channels: Sequence[int] = (0,), masked_channels: Sequence[int] = ()
    ) -> torch.Tensor:
        """Return SAM's embeddings `(B, 256, grid, grid)` of images `(B, C, H, W)`, see `__call__`; no gradients."""
        rgb = to_rgb(image, channels, masked_channels)
        resized = self.resized_size((image.shape[2], image.shape[3]))
        return self.embed(F.interpolate(rgb, size=resized, mode="bilinear", align_corners=False, antialias=True))

    def decode_parts(
        self, embeddings: torch.Tensor, prompts: torch.Tensor, parts: Sequence[Part], stride: tuple[int, int]
    ) -> torch.Tensor:
        """Return SAM's mask logits of parts of images that were encoded as a whole, all decoded at once.

        Outside of its part SAM has no prompt. Where a part extends beyond its image, prompts are left out and there is
        no mask (logit -10). A part that is the whole image has the masks that `__call__` gives.

        Args:
            embeddings: of the images, `(S, 256, grid, grid)`.
            prompts: `(S, P, 256, h, w)`, cells of `stride` pixels.
            parts: where they lie.
            stride: pixels per cell of the prompts, along rows and columns.

        Returns:
            Logits `(S, P, h * stride, w * stride)`.
        """
        with disable_autocast(embeddings.device.type):
            placed = [
                self.place_part(prompt.float(), part, stride) for prompt, part in zip(prompts, parts, strict=True)
            ]
            decoded = self.decode(embeddings.float(), torch.stack(placed))
        edges = [cells * step for cells, step in zip(prompts.shape[3:], stride, strict=True)]
        masks = []
        for low, part in zip(decoded, parts, strict=True):
            whole = self.sam.postprocess_masks(low, self.resized_size(part.size), part.size)[:, 0]
            row, column = part.first
            found = whole[:, row : row + edges[0], column : column + edges[1]]
            padding = (0, edges[1] - found.shape[2], 0, edges[0] - found.shape[1])
            masks.append(F.pad(found, padding, value=NO_MASK))
        return torch.stack(masks)

    @torch.no_grad()
    def embed(self, picture: torch.Tensor) -> torch.Tensor:
        """Return SAM's image embedding `(B, 256, grid, grid)` of a resized 0-255 picture `(B, 3, <=size, <=size)`.

        Images are encoded one by one: a global attention matrix of ViT-B at 1024 pixels takes 0.8 GB in float32.
        """
        return torch.cat([self.sam.image_encoder(image) for image in self.sam.preprocess(picture).split(1)])

    def place_prompts(self, prompt: torch.Tensor, picture_size: tuple[int, ...]) -> torch.Tensor:
        """Resample prompts onto the part of SAM's grid that the image covers; the rest is SAM's no-mask embedding.

        Args:
            prompt: `(B, P, 256, h, w)`, whose cells share the image evenly.
            picture_size: rows and columns of the resized image in SAM's input, in pixels.

        Returns:
            Prompts on SAM's grid, `(B, P, 256, grid, grid)`.
        """
        grid = self.sam.prompt_encoder.image_embedding_size
        rows, columns = (
            token_weights(cells, edge * tokens / self.image_size).to(prompt)
            for cells, edge, tokens in zip(prompt.shape[3:], picture_size, grid, strict=True)
        )
        empty = self.sam.prompt_encoder.no_mask_embed.weight.to(prompt.dtype).reshape(1, 1, -1, 1, 1)
        canvas = empty.expand(*prompt.shape[:2], -1, *grid).clone()
        canvas[..., : len(rows), : len(columns)] = rows @ (prompt @ columns.T)
        return canvas

    def place_part(self, prompt: torch.Tensor, part: Part, stride: tuple[int, int]) -> torch.Tensor:
        """Return prompts `(P, 256, h, w)` of a part of an image on SAM's grid, `(P, 256, grid, grid)`.

        Every token is the mean of the cells below it; the share that has none is SAM's no-mask embedding.
        """
        grid, picture_size = self.sam.prompt_encoder.image_embedding_size, self.resized_size(part.size)
        weights = []
        for axis in (0, 1):
            edge = part.size[axis]
            cells = -(-edge // stride[axis])
            # the last cell may extend beyond the image; it is repeated where a token does, as in `place_prompts`
            filled = picture_size[axis] * grid[axis] / self.image_size * cells * stride[axis] / edge
            tokens = token_weights(cells, filled).to(prompt)
            start, count = part.first[axis] // stride[axis], prompt.shape[2 + axis]
            placed = prompt.new_zeros(grid[axis], count)
            shown = tokens[: grid[axis], start : start + count]
            placed[: len(shown), : shown.shape[1]] = shown
            weights.append(placed)
        rows, columns = weights
        empty = self.sam.prompt_encoder.no_mask_embed.weight.to(prompt.dtype).reshape(1, -1, 1, 1)
        covered = rows.sum(1)[:, None] * columns.sum(1)
        return rows @ (prompt @ columns.T) + (1 - covered) * empty

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
