"""The classes of a data set, from dataset.json."""

import json
from functools import partial

import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation import evaluate
from ser_nnunet.evaluation.labels import read_labels
from tests.evaluation.cohort import FAST, LABELS, OVERLAP, REGIONS, random_label_map, write_cohort


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


def two_files(tmp_path, of_model, of_data, method="pred0"):
    """Predictions of a model with the first labels, references of a data set with the second ones."""
    arrays = [{"a": random_label_map(seed)} for seed in (0, 1, 2)]
    folder = write_cohort(tmp_path, *arrays, labels=of_data)
    content = json.loads((folder / "dataset.json").read_text()) | {"labels": of_model}
    (folder / method / "dataset.json").write_text(json.dumps(content))
    return folder, partial(evaluate, folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)


SWAPPED = {"background": 0, "posterior": 1, "anterior": 2}


@pytest.mark.parametrize("method", ["pred0", "pred1"])
def test_labels_of_another_model_are_refused_until_a_file_is_named(tmp_path, method):
    folder, run = two_files(tmp_path, SWAPPED, LABELS, method)
    files = [folder / method / "dataset.json", folder / "dataset.json"]
    with pytest.raises(UserError, match="don't agree on the labels") as raised:
        run(compare=[folder / "pred1"])
    message = str(raised.value)
    assert f"{files[0]}: " in message and f"{files[1]}: " in message and "--dataset-json FILE" in message
    assert "anterior 2" in message and "anterior 1" in message and "background" not in message
    named = [run(compare=[folder / "pred1"], dataset_json=file) for file in files]
    ours, theirs = (each.cases.set_index(["method", "class"])["Dice"] for each in named)
    assert ours["pred0", "anterior"] == theirs["pred0", "posterior"] != theirs["pred0", "anterior"]


@pytest.mark.parametrize(
    ("of_model", "of_data", "difference"),
    [
        ({"background": 0, "anterior": 1}, LABELS, "posterior absent"),
        (LABELS, {**LABELS, "ignore": 3}, "ignore 3"),
        (REGIONS, {**REGIONS, "whole": [1, 2, 3]}, r"whole \(1, 2, 3\)"),
        ({"0": "background", "1": "anterior"}, LABELS, "an nnU-Net v2 dataset.json .* expected, but"),
    ],
)
def test_every_difference_in_what_a_value_means_is_named(tmp_path, of_model, of_data, difference):
    _, run = two_files(tmp_path, of_model, of_data)
    with pytest.raises(UserError, match=f"(?s)don't agree on the labels.*{difference}"):
        run()


def test_the_order_of_names_and_of_a_regions_labels_is_no_difference(tmp_path):
    reordered = {"posterior": 2, "background": 0, "whole": [2, 1]}
    _, run = two_files(tmp_path, reordered, REGIONS)
    assert set(run().classes) == {"whole", "posterior"}
