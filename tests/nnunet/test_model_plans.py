"""A trained fold whose plans.json or dataset.json is damaged is refused with the file and all of its entries."""

import json

import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.trained_model import read_trained_model
from tests.training.teachers import write_teacher


def test_everything_that_is_wrong_with_both_files_is_named(tmp_path):
    folder = write_teacher(tmp_path / "model")
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["2d"]["patch_size"] = "x"
    del plans["transpose_forward"]
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text('{"file_ending": ".nii.gz"}')
    with pytest.raises(UserError) as caught:
        read_trained_model(folder, 0)
    message = str(caught.value)
    for part in ("plans.json", "2d.patch_size", "transpose_forward: Field required", "dataset.json", "labels: Field"):
        assert part in message, message


def test_other_configurations_may_be_unfinished(tmp_path):
    folder = write_teacher(tmp_path / "model")
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["3d_mine"] = {}
    (folder / "plans.json").write_text(json.dumps(plans))
    assert read_trained_model(folder, 0).planned.patch_size == (32, 32)
