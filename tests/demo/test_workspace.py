"""The demo must never cost anybody a file, and prediction in it must really be without SAM."""

import os
import subprocess
import sys

import pytest

from ser_nnunet.demo.workspace import Workspace
from ser_nnunet.errors import UserError


def test_a_foreign_folder_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "nnUNet_raw").mkdir()
    (tmp_path / "nnUNet_raw" / "mine.nii.gz").write_text("precious")
    with pytest.raises(UserError, match="was not made by an earlier demo"):
        Workspace(tmp_path).prepare()
    assert (tmp_path / "nnUNet_raw" / "mine.nii.gz").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["nnUNet_raw"]


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "demo").write_text("a file")
    with pytest.raises(UserError, match="is a file"):
        Workspace(tmp_path / "demo").prepare()


def test_an_earlier_demo_is_replaced_but_not_what_the_user_put_there(tmp_path):
    place = Workspace(tmp_path / "new" / "demo")
    place.prepare()
    old = [place.results / "Dataset777_MSPhantom" / "model.pth", place.predictions / "P54.nii.gz", place.picture]
    for path in [*old, place.folder / "notes.txt"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")
    place.prepare()
    assert not any(path.exists() for path in old)
    assert (place.folder / "notes.txt").read_text() == "old"


def test_a_link_to_the_users_own_folder_is_removed_without_what_it_leads_to(tmp_path):
    place = Workspace(tmp_path / "demo")
    place.prepare()
    own = tmp_path / "own_raw"
    own.mkdir()
    (own / "mine").write_text("precious")
    place.raw.rmdir()
    place.raw.symlink_to(own)
    place.prepare()
    assert (own / "mine").read_text() == "precious"
    assert not place.raw.is_symlink()


def test_the_environment_file_sets_the_demos_variables_even_where_the_path_has_spaces(tmp_path):
    place = Workspace(tmp_path / "a folder")
    place.prepare()
    script = f"source '{place.environment_file}' && printf '%s' \"$nnUNet_raw\""
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown == str(place.raw)


def test_segment_anything_cannot_be_imported_for_the_prediction_and_no_sam_is_named(tmp_path):
    place = Workspace(tmp_path / "demo")
    place.prepare()
    environment = place.without_sam()
    assert environment["SER_SAM_CHECKPOINT"] == ""
    result = subprocess.run(
        [sys.executable, "-c", "import numpy; import segment_anything"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    assert "segment_anything is blocked" in result.stderr


def test_the_users_own_nnunet_folders_play_no_part(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", "/mine")
    environment = Workspace(tmp_path / "demo").environment()
    assert {environment[name] for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")} == {
        str(tmp_path / "demo" / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    }
