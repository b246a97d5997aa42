"""Pseudo-labels of training cases on disk, where nnU-Net's data loaders find them in the place of the ignore label."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from batchgenerators.utilities.file_and_folder_operations import load_pickle, write_pickle
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from ser_nnunet.nnunet.annotated_cases import annotated_key

LOCATIONS = 10_000  # voxels per class that are kept for sampling, at most, as in nnU-Net's preprocessing


@dataclass(frozen=True)
class PseudoLabelFiles:
    """A folder with `CASE_seg.b2nd` (labels `(1, D, H, W)`) and `CASE.pkl` (where the classes are) of each case."""

    folder: Path

    def holds(self, case: str) -> bool:
        """Return whether a case has pseudo-labels."""
        return (self.folder / f"{case}.pkl").is_file()

    def save(self, case: str, segmentation: np.ndarray, labels: LabelManager) -> None:
        """Write a case's labels `(1, D, H, W)`, annotation and pseudo-labels together."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{case}.pkl").unlink(missing_ok=True)
        kept = np.ascontiguousarray(segmentation.astype(np.int8 if segmentation.max() < 128 else np.int16))
        nnUNetDatasetBlosc2.save_seg(kept, str(self.folder / f"{case}_seg"), (1, 1, *kept.shape[2:]))
        write_pickle(locate_classes(kept, labels), str(self.folder / f"{case}.pkl"))

    def load(self, case: str) -> tuple[Any, dict[Any, np.ndarray]]:
        """Return labels, an array that is read as far as it is indexed, and where the classes are."""
        file = str(self.folder / f"{case}_seg.b2nd")
        import blosc2

        return blosc2.open(urlpath=file, mode="r"), load_pickle(str(self.folder / f"{case}.pkl"))

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def locate_classes(segmentation: np.ndarray, labels: LabelManager) -> dict[Any, np.ndarray]:
    """Return class or region -> indices `(N, 4)` of at most `LOCATIONS` voxels, as nnU-Net's preprocessing does."""
    keys = labels.foreground_regions if labels.has_regions else labels.foreground_labels
    wanted = {tuple(key) if isinstance(key, (list, tuple)) else key: np.atleast_1d(key) for key in keys}
    wanted[annotated_key(labels)] = np.array(annotated_key(labels))
    random, found = np.random.default_rng(0), {}
    for key, values in wanted.items():
        places = np.argwhere(np.isin(segmentation, values))
        found[key] = places[random.permutation(len(places))[:LOCATIONS]] if len(places) > LOCATIONS else places
    return found


class PseudoLabelledCases(nnUNetDatasetBlosc2):
    """nnU-Net's data set with pseudo-labels in the place of the ignore label, for cases that have any.

    In data sets with an ignore label nnU-Net centres patches on annotated voxels, also where the image is smaller than
    the patch, of which it then shows a part. In cases that are labelled everywhere, patches lie here as they do in data
    sets without an ignore label.

    Attributes:
        files: the pseudo-labels; None if there are none.
        whole: the cases that are annotated everywhere.
        labels: the data set's label manager.
        sampled_patch: three edges of what nnU-Net cuts out before augmentation.
        patch: three edges of the patch after it.
    """

    files: PseudoLabelFiles | None
    whole: frozenset[str]
    labels: LabelManager
    sampled_patch: tuple[int, ...]
    patch: tuple[int, ...]

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Return image, labels, labels of the previous stage and properties of a case, as nnU-Net's class does."""
        data, segmentation, previous, properties = super().load_case(identifier)
        labelled = self.files is not None and self.files.holds(identifier)
        if self.files is not None and labelled:
            segmentation, properties["class_locations"] = self.files.load(identifier)
        if labelled or identifier in self.whole:
            centre = draw_centre(segmentation.shape[1:], self.sampled_patch, self.patch)
            properties["class_locations"][annotated_key(self.labels)] = np.array([[0, *centre]])
        return data, segmentation, previous, properties


def draw_centre(shape: Sequence[int], sampled: Sequence[int], patch: Sequence[int]) -> list[int]:
    """Return a patch's random centre; the patch begins where nnU-Net would let it begin without an ignore label.

    Args:
        shape: of the image.
        sampled: edges of what is cut out.
        patch: edges of the patch after augmentation; the image is padded by the difference, and at least to `sampled`.
    """
    centre = []
    for edge, cut, kept in zip(shape, sampled, patch, strict=True):
        padding = max(cut - kept, cut - edge)
        first = np.random.randint(-padding // 2, edge + padding // 2 + padding % 2 - cut + 1)
        centre.append(int(first + cut // 2))
    return centre
