"""Parts of unaugmented slices of the training cases, with SAM's embeddings of the whole slices from disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from tqdm import tqdm

from ser_nnunet.nnunet.annotated_cases import is_annotated
from ser_nnunet.sam.embedding_store import EmbeddingStore, embed_slices
from ser_nnunet.sam.guide import Part, SAMGuide
from ser_nnunet.training.guidance import GuidanceSettings
from ser_nnunet.training.pseudo_labels import ignore_label
from ser_nnunet.training.slices import FOREGROUND_SHARE

OPEN_CASES = 64  # files that are kept open: nnU-Net unpickles a case's properties whenever it is opened


class SlicePart(NamedTuple):
    """A part of a slice, of the plan's patch size.

    Attributes:
        image: `(C, H, W)`, 0 beyond the slice, as nnU-Net pads.
        target: in nnU-Net's format without batch axis: `(1, H, W)`, or `(P (+ 1 for ignored pixels), H, W)` of regions.
        embedding: SAM's of the whole slice, `(256, grid, grid)`.
        place: of the part in the slice.
    """

    image: torch.Tensor
    target: torch.Tensor
    embedding: torch.Tensor
    place: Part


@dataclass(frozen=True)
class KeptSlices:
    """The slices of a case whose embeddings are kept.

    Attributes:
        case: its name.
        positions: along nnU-Net's first axis.
        foreground: for each, whether a class is known to be in it.
        annotated: whether any voxel of the case is.
    """

    case: str
    positions: tuple[int, ...]
    foreground: tuple[bool, ...]
    annotated: bool


def choose_positions(depth: int, foreground: Sequence[int], count: int) -> list[int]:
    """Return at most `count` slices of a case, 85 % of them with foreground if there are as many, evenly spread.

    Args:
        depth: number of slices.
        foreground: those with foreground.
        count: at least 1.
    """
    inside = sorted(set(foreground))
    outside = [position for position in range(depth) if position not in set(inside)]
    wanted = min(len(inside), max(round(FOREGROUND_SHARE * count), count - len(outside)))
    chosen = spread_evenly(inside, wanted) + spread_evenly(outside, count - wanted)
    return sorted(chosen)


def spread_evenly(values: Sequence[int], count: int) -> list[int]:
    """Return `count` (or all, if there are fewer) of the values, evenly spread over them."""
    if count >= len(values):
        return list(values)
    return [values[int((index + 0.5) * len(values) / count)] for index in range(count)]


def find_foreground(locations: dict[Any, Any], labels: LabelManager) -> dict[int, int]:
    """Return slice -> number of sampled foreground voxels, from the class locations of nnU-Net's preprocessing."""
    keys = labels.foreground_regions if labels.has_regions else labels.foreground_labels
    keys = [tuple(key) if isinstance(key, (list, tuple)) else key for key in keys]
    found = [np.asarray(locations[key])[:, 1] for key in keys if len(locations.get(key, ()))]
    positions, counts = np.unique(np.concatenate(found), return_counts=True) if found else ((), ())
    return {int(position): int(count) for position, count in zip(positions, counts, strict=True)}


def target_of_slice(segmentation: np.ndarray, labels: LabelManager) -> torch.Tensor:
    """Return nnU-Net's target of a slice's labels `(H, W)`, without batch axis (see `losses.binary_targets`)."""
    known = torch.from_numpy(segmentation.astype(np.int64)).clamp_min(0)  # -1: outside nnU-Net's nonzero mask
    if not labels.has_regions:
        return known[None]
    regions = [list(region) if isinstance(region, (list, tuple)) else [region] for region in labels.foreground_regions]
    maps = [torch.isin(known, torch.tensor(region)) for region in regions]
    if labels.has_ignore_label:
        maps.append(known.eq(ignore_label(labels)))
    return torch.stack(maps)


class CachedSlices:
    """Embeds slices of the training cases where that hasn't been done, and draws parts of them.

    Attributes:
        kept: of every case.
    """

    def __init__(
        self, dataset: Any, folder: Path, labels: LabelManager, store: EmbeddingStore, patch: Sequence[int], seed: int
    ) -> None:
        """Prepare to draw.

        Args:
            dataset: nnU-Net's, of the configuration's preprocessed cases.
            folder: where these lie.
            labels: the data set's label manager.
            store: where embeddings are kept.
            patch: rows and columns of a part.
            seed: of the draws.
        """
        self.dataset, self.folder, self.labels, self.store = dataset, folder, labels, store
        self.patch = (patch[0], patch[1])
        self.random = np.random.default_rng(seed)
        self.kept: list[KeptSlices] = []
        self._opened: dict[str, tuple[Any, Any]] = {}

    def embed(
        self, cases: Sequence[str], per_case: int, guide: SAMGuide, settings: GuidanceSettings, device: torch.device
    ) -> None:
        """Embed what isn't kept yet, with a progress bar, and note what is.

        Args:
            cases: each once.
            per_case: slices at most.
            guide: SAM.
            settings: the channels that SAM sees.
            device: where SAM is.
        """
        missing = [case for case in cases if not self._kept_slices(case)]
        with tqdm(total=len(missing), desc="SAM's embeddings", unit="case", disable=None) as bar:
            for wait in (False, True):  # what other processes embed at first is waited for at last
                for case in missing:
                    with self.store.claim(case, wait) as claimed:
                        if claimed and not self._kept_slices(case):
                            self._embed(case, per_case, guide, settings, device)
                            bar.update()
                missing = [case for case in missing if not self._kept_slices(case)]
        for case in cases:
            _, segmentation, _, properties = self.dataset.load_case(case)
            foreground = find_foreground(properties["class_locations"], self.labels)
            positions = self._kept_slices(case)
            known = tuple(position in foreground for position in positions)
            annotated = is_annotated(segmentation, properties, self.labels)
            self.kept.append(KeptSlices(case, tuple(positions), known, annotated))

    def _kept_slices(self, case: str) -> list[int]:
        return self.store.slices(case, self.folder / f"{case}.b2nd")

    def _embed(
        self, case: str, per_case: int, guide: SAMGuide, settings: GuidanceSettings, device: torch.device
    ) -> None:
        """Embed slices of a case and keep them (arguments as `embed`)."""
        volume, _, _, properties = self.dataset.load_case(case)
        foreground = find_foreground(properties["class_locations"], self.labels)
        positions = choose_positions(volume.shape[1], list(foreground), per_case)
        embeddings = embed_slices(guide, volume, positions, settings.channels, settings.masked_channels, device)
        self.store.save(case, positions, embeddings, self.folder / f"{case}.b2nd")

    @property
    def annotated(self) -> list[KeptSlices]:
        """The cases with any annotation."""
        return [case for case in self.kept if case.annotated]

    def draw(self, cases: Sequence[KeptSlices], stride: tuple[int, int]) -> SlicePart:
        """Draw a part of a slice of one of the cases, in 85 % of the draws around foreground, where any is known.

        Args:
            cases: some of `kept`.
            stride: of the prompt; parts begin at multiples of it.
        """
        case = cases[int(self.random.integers(len(cases)))]
        numbers = [number for number, inside in enumerate(case.foreground) if inside]
        if not numbers or self.random.random() > FOREGROUND_SHARE:
            numbers = list(range(len(case.positions)))
        number = int(self.random.choice(numbers))
        volume, segmentation = self._open(case.case)
        image = torch.from_numpy(np.asarray(volume[:, case.positions[number]], np.float32))
        target = target_of_slice(np.asarray(segmentation[0, case.positions[number]]), self.labels)
        size = (image.shape[1], image.shape[2])
        first = self._place(target, size, stride)
        embedding = self.store.load(case.case, number)
        return SlicePart(cut(image, first, self.patch), cut(target, first, self.patch), embedding, Part(size, first))

    def _open(self, case: str) -> tuple[Any, Any]:
        """Return image and labels of a case, arrays that are read where they are indexed; the last ones stay open."""
        if case not in self._opened:
            if len(self._opened) >= OPEN_CASES:
                self._opened.pop(next(iter(self._opened)))
            self._opened[case] = self.dataset.load_case(case)[:2]
        return self._opened[case]

    def _place(self, target: torch.Tensor, size: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
        """Return the first row and column of a part: around a random voxel of foreground, or of the slice."""
        foreground = target[: len(self.labels.foreground_regions)] if self.labels.has_regions else target
        inside = foreground.bool().any(0)
        if self.labels.has_ignore_label and not self.labels.has_regions:
            inside &= target[0] != self.labels.ignore_label
        places = inside.nonzero() if inside.any() else torch.ones(size).nonzero()
        centre = places[int(self.random.integers(len(places)))].tolist()
        first = [
            min(max(0, position - edge // 2), max(0, whole - edge)) // step * step
            for position, edge, whole, step in zip(centre, self.patch, size, stride, strict=True)
        ]
        return first[0], first[1]


def cut(image: torch.Tensor, first: tuple[int, int], patch: tuple[int, int]) -> torch.Tensor:
    """Return a part `(C, *patch)` of `(C, H, W)`, 0 where it extends beyond."""
    part = image[:, first[0] : first[0] + patch[0], first[1] : first[1] + patch[1]]
    padding = (0, patch[1] - part.shape[2], 0, patch[0] - part.shape[1])
    return torch.nn.functional.pad(part, padding)
