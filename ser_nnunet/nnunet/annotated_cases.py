"""Which preprocessed cases have any annotated voxel: with nnU-Net's ignore label, a case may have none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.label_handling.label_handling import LabelManager


def annotated_key(labels: LabelManager) -> tuple[int, ...]:
    """Return the key under which nnU-Net's preprocessing keeps locations of annotated voxels in a case's properties."""
    return (-1, *labels.all_labels)


def find_unannotated(folder: str, cases: Iterable[str], labels: LabelManager) -> list[str]:
    """Return the cases whose voxels all carry the ignore label, in their order.

    Args:
        folder: of the configuration's preprocessed cases.
        cases: their names.
        labels: the data set's label manager; without an ignore label no file is read.
    """
    if not labels.has_ignore_label:
        return []
    wanted = list(cases)
    dataset = infer_dataset_class(folder)(folder, sorted(wanted))
    return [case for case in wanted if not is_annotated(dataset.load_case(case)[3], labels)]


def is_annotated(properties: dict[str, Any], labels: LabelManager) -> bool:
    """Return whether any voxel of a case is annotated, from the properties that nnU-Net's preprocessing keeps."""
    return not labels.has_ignore_label or len(properties["class_locations"].get(annotated_key(labels), ())) > 0
