"""The classes of a data set, from dataset.json."""

import json

import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation import evaluate
from tests.evaluation.cohort import FAST, random_label_map, write_cohort


def test_a_missing_or_foreign_dataset_json_is_explained(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array}, {"a": array})
    decathlon = {"labels": {"0": "background", "1": "anterior"}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(decathlon))
    with pytest.raises(UserError, match=r"no nnU-Net v2 dataset\.json"):
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)
    (folder / "dataset.json").unlink()
    with pytest.raises(UserError, match="--dataset-json"):
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)
