"""The classes of a data set, from dataset.json."""

import json

import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation import evaluate
from ser_nnunet.evaluation.labels import read_labels
from tests.evaluation.cohort import FAST, random_label_map, write_cohort


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"file_ending": 1}, "file_ending: .*string, found 1"),
        ({"file_ending": "/../x"}, "file_ending"),
        ({"labels": {"background": 0, "ignore": 1}}, "at least one class besides background and ignore"),
        ({"labels": {"background": 0, "a": 1.5}}, "labels.a"),
        ({"labels": {"background": 0, "a": -1}}, "labels.a"),
        ({"labels": {"background": 0, "a": [[1]]}}, "labels.a"),
        ({"labels": {"background": 0, "a": 10**9}}, "labels.a"),
        ({"labels": ["a"]}, "labels: .*dictionary, found a list of 1"),
        ({"labels": {"background": 0, "a": 1, "b": [1, 2]}}, "can't use its labels"),
        ({"name": 5}, "name: .*string"),
    ],
)
def test_a_dataset_json_of_another_shape_is_refused_with_the_entry(tmp_path, changes, problem):
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps({"labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz"} | changes))
    with pytest.raises(UserError, match=f"(?s)dataset.json: an nnU-Net v2 .*{problem}"):
        read_labels(file)


def test_a_missing_or_foreign_dataset_json_is_explained(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array}, {"a": array})
    decathlon = {"labels": {"0": "background", "1": "anterior"}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(decathlon))
    with pytest.raises(UserError, match=r"an nnU-Net v2 dataset\.json .* expected, but\n  labels.0"):
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)
    (folder / "dataset.json").unlink()
    with pytest.raises(UserError, match="--dataset-json"):
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)
