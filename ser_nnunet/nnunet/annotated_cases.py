"""Which preprocessed cases have any annotated voxel: with nnU-Net's ignore label, a case may have none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.label_handling.label_handling import LabelManager


def annotated_key(labels: LabelManager) -> tuple[int, ...]:
    """Return the key under which nnU-Net's preprocessing keeps locations of annotated voxels in a case's properties."""
    return (-1, *labels.all_labels)


def find_unannotated(folder: str, cases: Iterable[str], labels: LabelManager) -> list[str]:
    """Return the cases whose voxels all carry the ignore label or lie outside of the image's content, in their order.

    Args:
        folder: of the configuration's preprocessed cases.
        cases: their names.
        labels: the data set's label manager; without an ignore label no file is read.
    """
    if not labels.has_ignore_label:
        return []
    wanted = list(cases)
    dataset = infer_dataset_class(folder)(folder, sorted(wanted))
    found = []
    for case in wanted:
        _, segmentation, _, properties = dataset.load_case(case)
        if not is_annotated(segmentation, properties, labels):
            found.append(case)
    return found


def is_annotated(segmentation: Any, properties: dict[str, Any], labels: LabelManager) -> bool:
    """Return whether any voxel of a preprocessed case is annotated.

    Args:
        segmentation: its labels; -1 is outside of the image's content, where nnU-Net takes 0 for no annotation.
        properties: that nnU-Net's preprocessing keeps.
        labels: the data set's label manager.
    """
    if not labels.has_ignore_label:
        return True
    if not len(properties["class_locations"].get(annotated_key(labels), ())):
        return False
    known = np.asarray(segmentation[:])
    return bool(((known >= 0) & (known != labels.ignore_label)).any())
