"""Random slices of preprocessed cases, in the picture that SAM's guide would make of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.utils.transforms import ResizeLongestSide

from ser_nnunet.benchmark.proxy_sam.region_masks import draw_masks
from ser_nnunet.sam.architecture import PIXEL_MEAN
from ser_nnunet.sam.guide import to_rgb


@dataclass(frozen=True)
class Pictures:
    """Where pictures come from: images alone, no label is ever read.

    Attributes:
        folder: a configuration's preprocessed cases.
        cases: which of them.
        patch: rows and columns of the plan's 2D patch.
    """

    folder: Path
    cases: tuple[str, ...]
    patch: tuple[int, int]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random slice as `(rows, columns)`, 0 to 1: a random channel, mirrored, turned, inverted at times."""
        volume = self._open(self.cases[rng.integers(len(self.cases))])
        section = np.asarray(volume[int(rng.integers(volume.shape[0])), int(rng.integers(volume.shape[1]))])
        tensor = torch.from_numpy(_cut(section.astype(np.float32), self.patch, rng))[None, None]
        picture = to_rgb(tensor, (0,))[0, 0].numpy() / 255
        picture = picture ** rng.uniform(0.6, 1.6)
        picture = 1 - picture if rng.random() < 0.2 else picture
        for axis in (0, 1):
            picture = np.flip(picture, axis) if rng.random() < 0.5 else picture
        return np.ascontiguousarray(picture if rng.random() < 0.5 else picture.T)

    def _open(self, case: str) -> Any:
        from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

        return infer_dataset_class(str(self.folder))(str(self.folder), [case]).load_case(case)[0]


def _cut(section: np.ndarray, patch: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Cut a random window of 0.6 to 1 times the patch's edges; a slice that is smaller stays whole."""
    zoom = rng.uniform(0.6, 1.0)
    for axis, edge in enumerate(max(8, round(edge * zoom)) for edge in patch):
        spare = section.shape[axis] - edge
        if spare > 0:
            start = int(rng.integers(spare + 1))
            section = section.take(range(start, start + edge), axis)
    return section


@dataclass(frozen=True)
class Batch:
    """Pictures as SAM is shown them, and regions to segment.

    Attributes:
        pictures: `(B, 3, size, size)`, 0 to 255; right and below SAM's mean colour, which its normalisation turns into
            the zeros that it pads with.
        masks: booleans `(B, M, size, size)`, none of them empty.
        inside: booleans `(B, size, size)`, where the picture is.
    """

    pictures: torch.Tensor
    masks: torch.Tensor
    inside: torch.Tensor


def draw_batch(sources: list[Pictures], count: int, masks: int, image_size: int, rng: np.random.Generator) -> Batch:
    """Draw pictures and masks; the longest side of every picture fills SAM's image size, as `SAMGuide` shows it."""
    shape = (image_size, image_size)
    pictures = torch.tensor(PIXEL_MEAN)[None, :, None, None].repeat(count, 1, *shape)
    targets, inside = torch.zeros(count, masks, *shape, dtype=torch.bool), torch.zeros(count, *shape, dtype=torch.bool)
    for index in range(count):
        picture, drawn = draw_masks(sources[rng.integers(len(sources))].draw(rng), masks, rng)
        height, width = ResizeLongestSide.get_preprocess_shape(*picture.shape, image_size)
        shown = torch.from_numpy(picture).float()[None, None] * 255
        pictures[index, :, :height, :width] = F.interpolate(
            shown, size=(height, width), mode="bilinear", align_corners=False, antialias=True
        )[0]
        targets[index, :, :height, :width] = _resized(torch.from_numpy(drawn), (height, width))
        inside[index, :height, :width] = True
    return Batch(pictures, targets, inside)


def _resized(masks: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize booleans `(M, H, W)`; where they shrink, no region gets lost."""
    shrinks = size[0] < masks.shape[1]
    values = masks.float()[None]
    return (F.adaptive_max_pool2d(values, size) if shrinks else F.interpolate(values, size=size))[0].bool()
