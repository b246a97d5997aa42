"""Which preprocessed cases have any annotated voxel: with nnU-Net's ignore label, a case may have none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class, nnUNetDatasetBlosc2
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
    locations = {case: dataset.load_case(case)[3]["class_locations"] for case in wanted}
    return [case for case in wanted if len(locations[case].get(annotated_key(labels), ())) == 0]


class UnannotatedCases(nnUNetDatasetBlosc2):
    """nnU-Net's data set for training on cases without annotation, too: patches may lie anywhere in these.

    nnU-Net's loader centres patches on annotated voxels, and warns at every patch of a case that has none.

    Attributes:
        labels: the data set's label manager.
    """

    labels: LabelManager

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Return image, labels, labels of the previous stage and properties of a case, as nnU-Net's class does."""
        data, segmentation, previous, properties = super().load_case(identifier)
        locations, key = properties["class_locations"], annotated_key(self.labels)
        if len(locations.get(key, ())) == 0:
            locations[key] = np.array([[0, *(np.random.randint(edge) for edge in segmentation.shape[1:])]])
        return data, segmentation, previous, properties
