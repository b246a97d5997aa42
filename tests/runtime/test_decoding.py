"""Labels equal those of nnU-Net's `LabelManager`."""

import numpy as np
import pytest
import torch

from ser_nnunet.runtime.decoding import decode
from ser_nnunet.runtime.recipe import Resampling
from ser_nnunet.runtime.resampling import resample
from tests.runtime.toy import CLASSES, REGIONS, plan, recipe

IGNORE = {"labels": {"background": 0, "shell": 1, "core": 2, "ignore": 3}}
GAPS = {"labels": {"background": 0, "whole": [3, 7], "core": 7}, "regions_class_order": [3, 7]}
OVERWRITTEN = {"labels": {"background": 0, "core": 2, "whole": [1, 2]}, "regions_class_order": [2, 1]}


@pytest.mark.parametrize("labels", [CLASSES, REGIONS, IGNORE, GAPS, OVERWRITTEN])
def test_labels_are_nnunets(labels):
    planned = plan(labels=labels)
    logits = np.random.default_rng(0).normal(0, 2, (planned.heads, 4, 5, 6)).astype(np.float32)
    logits[:, 0] = 0.5  # ties
    expected = planned.label_manager.convert_logits_to_segmentation(torch.from_numpy(logits.copy())).numpy()
    before = logits.copy()
    assert (decode(logits, recipe(planned), lambda each: each) == expected).all()
    assert (logits == before).all()


def test_logits_are_resampled_before_they_are_compared():
    """Between two voxels of different classes, the more certain one reaches further."""
    logits = np.zeros((3, 1, 1, 2), np.float32)
    logits[1, ..., 0], logits[2, ..., 1] = 3, 1

    def regrid(each):
        return resample(each, (1, 1, 8), (9, 1, 1), (9, 1, 0.25), Resampling(1))

    assert decode(logits, recipe(), regrid).ravel().tolist() == [1, 1, 1, 1, 1, 2, 2, 2]


def test_labels_above_255_fit():
    many = {"labels": {"background": 0, **{f"class {index}": index for index in range(1, 300)}}}
    logits = np.zeros((300, 1, 1, 1), np.float32)
    logits[299] = 1
    assert decode(logits, recipe(labels=many), lambda each: each).item() == 299
