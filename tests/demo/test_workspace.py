"""The demo deletes no file that it did not write, and its prediction cannot import SAM."""

import os
import subprocess
import sys

import pytest

from ser_nnunet.cli import main
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


def test_an_earlier_demo_is_replaced_but_not_the_users_files_in_it(tmp_path):
    workspace = Workspace(tmp_path / "new" / "demo")
    workspace.prepare()
    old = [
        workspace.results / "Dataset777_MSPhantom" / "SERTrainerDemo__nnUNetPlans__2d" / "model.pth",
        workspace.predictions / "P54.nii.gz",
        workspace.picture,
    ]
    for path in [*old, workspace.folder / "notes.txt"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")
    workspace.prepare()
    assert not any(path.exists() for path in old)
    assert (workspace.folder / "notes.txt").read_text() == "old"


def test_a_second_demo_in_the_same_folder_is_refused_while_the_first_one_runs(tmp_path, capsys):
    pytest.importorskip("nilearn")
    workspace = Workspace(tmp_path / "demo")
    workspace.prepare()
    workspace.picture.write_text("of the first demo")
    with workspace.lock():
        assert main(["demo", "--folder", str(workspace.folder)]) == 2
    assert "a demo in" in (shown := capsys.readouterr().err) and f"process {os.getpid()}" in shown
    assert workspace.picture.read_text() == "of the first demo"


def test_data_sets_and_models_that_were_made_with_the_demos_environment_stay(tmp_path):
    workspace = Workspace(tmp_path / "demo")
    workspace.prepare()
    mine = [
        workspace.raw / "Dataset501_MSLesSeg" / "imagesTr" / "P1_T1_0000.nii.gz",
        workspace.preprocessed / "Dataset501_MSLesSeg" / "plans.json",
        workspace.results / "Dataset501_MSLesSeg" / "SERTrainer__nnUNetPlans__2d" / "checkpoint_final.pth",
        workspace.results / "Dataset777_MSPhantom" / "nnUNetTrainer__nnUNetPlans__2d" / "checkpoint_final.pth",
    ]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
    workspace.prepare()
    assert [path.read_text() for path in mine] == ["precious"] * 4


@pytest.mark.parametrize(
    "name", ["predictions/mine.nii.gz", "evaluation/notes.md", "logs/my.txt", "mslesseg_phantom/train/P1/mine.nii.gz"]
)
def test_a_users_file_in_a_folder_that_would_be_replaced_is_named_and_nothing_is_changed(tmp_path, name):
    workspace = Workspace(tmp_path / "demo")
    workspace.prepare()
    for path in (workspace.folder / name, workspace.predictions / "P54.nii.gz"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
    with pytest.raises(UserError, match=rf"nothing was changed.*\n  .*{name}"):
        workspace.prepare()
    assert (workspace.folder / name).read_text() == "precious" and (workspace.predictions / "P54.nii.gz").is_file()


def test_a_link_to_the_users_folder_is_removed_without_its_target(tmp_path):
    workspace = Workspace(tmp_path / "demo")
    workspace.prepare()
    own = tmp_path / "own_raw"
    own.mkdir()
    (own / "mine").write_text("precious")
    workspace.raw.rmdir()
    workspace.raw.symlink_to(own)
    workspace.prepare()
    assert (own / "mine").read_text() == "precious"
    assert not workspace.raw.is_symlink()


def test_the_environment_file_works_with_spaces_in_the_path(tmp_path):
    workspace = Workspace(tmp_path / "a folder")
    workspace.prepare()
    script = f"source '{workspace.environment_file}' && printf '%s' \"$nnUNet_raw\""
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown == str(workspace.raw)


def test_the_prediction_can_neither_import_segment_anything_nor_find_a_checkpoint(tmp_path):
    workspace = Workspace(tmp_path / "demo")
    workspace.prepare()
    environment = workspace.environment_without_sam()
    assert environment["SER_SAM_CHECKPOINT"] == ""
    result = subprocess.run(
        [sys.executable, "-c", "import numpy; import segment_anything"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    assert "segment_anything is blocked" in result.stderr


def test_the_users_own_nnunet_folders_are_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", "/mine")
    environment = Workspace(tmp_path / "demo").environment()
    assert {environment[name] for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")} == {
        str(tmp_path / "demo" / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    }
