"""Random slices of preprocessed cases, in the picture that SAM's guide would make of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.utils.transforms import ResizeLongestSide

from ser_nnunet.benchmark.stand_in.masks import draw_masks
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
        tensor = torch.from_numpy(_fit(section.astype(np.float32), self.patch, rng))[None, None]
        picture = to_rgb(tensor, (0,))[0, 0].numpy() / 255
        picture = picture ** rng.uniform(0.6, 1.6)
        picture = 1 - picture if rng.random() < 0.2 else picture
        for axis in (0, 1):
            picture = np.flip(picture, axis) if rng.random() < 0.5 else picture
        return np.ascontiguousarray(picture if rng.random() < 0.5 else picture.T)

    def _open(self, case: str) -> Any:
        from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

        return infer_dataset_class(str(self.folder))(str(self.folder), [case]).load_case(case)[0]


def _fit(section: np.ndarray, patch: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Cut a slice down to, or pad it up to, the patch; a second time at random to zoom in."""
    zoom = rng.uniform(0.6, 1.0)
    wanted = [max(8, round(edge * zoom)) for edge in patch]
    for axis, edge in enumerate(wanted):
        spare = section.shape[axis] - edge
        if spare > 0:
            start = int(rng.integers(spare + 1))
            section = section.take(range(start, start + edge), axis)
    return section


def draw_batch(
    sources: list[Pictures], count: int, masks: int, image_size: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures `(count, 3, size, size)`, 0 to 255, zero right and below, and masks `(count, masks, size, size)`.

    The longest side of every picture fills SAM's image size, as `SAMGuide` shows it.
    """
    pictures, targets = torch.zeros(count, 3, image_size, image_size), torch.zeros(count, masks, image_size, image_size)
    for index in range(count):
        picture, drawn = draw_masks(sources[rng.integers(len(sources))].draw(rng), masks, rng)
        size = ResizeLongestSide.get_preprocess_shape(*picture.shape, image_size)
        shown = torch.from_numpy(picture).float()[None, None] * 255
        pictures[index, :, : size[0], : size[1]] = F.interpolate(
            shown, size=size, mode="bilinear", align_corners=False, antialias=True
        )[0]
        targets[index, :, : size[0], : size[1]] = F.interpolate(torch.from_numpy(drawn).float()[None], size=size)[0]
    return pictures, targets.bool()
