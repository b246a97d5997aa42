"""Random slices of preprocessed cases, prepared as `SAMGuide` prepares them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.utils.transforms import ResizeLongestSide

from ser_nnunet.benchmark.proxy_sam.region_masks import SMALLEST, draw_masks
from ser_nnunet.sam.architecture import PIXEL_MEAN
from ser_nnunet.sam.picture import to_rgb


@dataclass(frozen=True)
class SliceSource:
    """Preprocessed cases of one data set, of which the labels of none or of some are read.

    Attributes:
        folder: a configuration's preprocessed cases.
        cases: which of them.
        patch: rows and columns of the plan's 2D patch.
        masked: the first channel is 0 outside nnU-Net's nonzero mask.
        labelled: the cases whose classes are regions to segment, too.
    """

    folder: Path
    cases: tuple[str, ...]
    patch: tuple[int, int]
    masked: bool = False
    labelled: frozenset[str] = frozenset()

    def draw_slice(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """Return a random slice `(rows, columns)`, at random mirrored, transposed, inverted.

        Returns:
            One channel, 0 to 1, and its labels; None for cases whose labels are not read.
        """
        from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

        case = self.cases[rng.integers(len(self.cases))]
        volume, labels = infer_dataset_class(str(self.folder))(str(self.folder), [case]).load_case(case)[:2]
        channel, position = int(rng.integers(volume.shape[0])), int(rng.integers(volume.shape[1]))
        section = np.asarray(volume[channel, position]).astype(np.float32)
        if case in self.labelled:
            section = np.stack([section, np.asarray(labels[0, position])])
        window = cut_window(section.reshape(-1, *section.shape[-2:]), self.patch, rng)
        masked = (0,) if self.masked else ()
        image = to_rgb(torch.from_numpy(window[None, :1].copy()), (0,), masked)[0, 0].numpy() / 255
        image = image ** rng.uniform(0.6, 1.6)
        window[0] = 1 - image if rng.random() < 0.2 else image
        for axis in (1, 2):
            window = np.flip(window, axis) if rng.random() < 0.5 else window
        window = np.ascontiguousarray(window if rng.random() < 0.5 else window.swapaxes(1, 2))
        return window[0], window[1] if len(window) > 1 else None


def cut_window(section: np.ndarray, patch: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Cut a random window of 0.6 to 1 times the patch's edges, `(C, H, W)`; a slice that is smaller stays whole."""
    zoom = rng.uniform(0.6, 1.0)
    for axis, edge in enumerate((max(8, round(edge * zoom)) for edge in patch), start=1):
        surplus = section.shape[axis] - edge
        if surplus > 0:
            start = int(rng.integers(surplus + 1))
            section = section.take(range(start, start + edge), axis)
    return section


def replace_by_classes(masks: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return masks `(M, H, W)` of which the first half are classes of the labels `(H, W)`, where there are any."""
    present = [label for label in np.unique(labels) if label > 0 and (labels == label).sum() >= SMALLEST]
    for index in range((len(masks) + 1) // 2 if present else 0):
        masks[index] = labels == present[rng.integers(len(present))]
    return masks


@dataclass(frozen=True)
class Batch:
    """Images as SAM gets them, and regions to segment.

    Attributes:
        images: `(B, 3, size, size)`, 0 to 255; right and below SAM's mean colour, which its normalisation turns into
            the zeros that it pads with.
        masks: booleans `(B, M, size, size)`, none of them empty.
        inside: booleans `(B, size, size)`, where the image is.
    """

    images: torch.Tensor
    masks: torch.Tensor
    inside: torch.Tensor


def draw_batch(sources: list[SliceSource], count: int, masks: int, image_size: int, rng: np.random.Generator) -> Batch:
    """Draw `count` images with `masks` regions each; the longest side of an image fills SAM's, as in `SAMGuide`."""
    drawn = []
    for _ in range(count):
        image, labels = sources[rng.integers(len(sources))].draw_slice(rng)
        image, regions = draw_masks(image, masks, rng)
        drawn.append((image, regions if labels is None else replace_by_classes(regions, labels, rng)))
    return place(drawn, image_size)


def place(drawn: list[tuple[np.ndarray, np.ndarray]], image_size: int) -> Batch:
    """Return images `(rows, columns)` and their masks `(M, rows, columns)` as SAM gets them."""
    shape = (image_size, image_size)
    count, masks = len(drawn), len(drawn[0][1])
    images = torch.tensor(PIXEL_MEAN)[None, :, None, None].repeat(count, 1, *shape)
    targets, inside = torch.zeros(count, masks, *shape, dtype=torch.bool), torch.zeros(count, *shape, dtype=torch.bool)
    for index, (image, found) in enumerate(drawn):
        rows, columns = image.shape
        height, width = ResizeLongestSide.get_preprocess_shape(rows, columns, image_size)
        grey = torch.from_numpy(image).float()[None, None] * 255
        images[index, :, :height, :width] = F.interpolate(
            grey, size=(height, width), mode="bilinear", align_corners=False, antialias=True
        )[0]
        regions = torch.from_numpy(found).float()[None]
        resize = F.adaptive_max_pool2d if height < image.shape[0] else F.interpolate  # shrinking loses no region
        targets[index, :, :height, :width] = resize(regions, (height, width))[0].bool()
        inside[index, :height, :width] = True
    return Batch(images, targets, inside)
