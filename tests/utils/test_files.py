"""Files and folders are there completely or not at all."""

import errno
import json

import pytest

from ser_nnunet.utils.files import read_json, remove, replacing, write_json, write_text


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_a_file_is_replaced_completely(tmp_path):
    target = tmp_path / "result.csv"
    target.write_text("an old and longer content")
    with replacing(target) as unfinished:
        unfinished.write_text("new")
        assert target.read_text() == "an old and longer content", "readers see the old content until the end"
    assert target.read_text() == "new"
    assert names(tmp_path) == ["result.csv"]


def test_the_temporary_name_keeps_the_ending_and_the_folder(tmp_path):
    """Libraries choose the format by the ending, and a rename is atomic only within one file system."""
    with replacing(tmp_path / "new" / "image.nii.gz") as unfinished:
        assert unfinished.parent == tmp_path / "new" and unfinished.name.endswith("image.nii.gz")
        unfinished.touch()
    assert names(tmp_path) == ["image.nii.gz", "new"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_a_file_keeps_its_old_content_and_nothing_else_is_left(tmp_path, error):
    target = tmp_path / "result.csv"
    target.write_text("old")
    with pytest.raises(error), replacing(target) as unfinished:
        unfinished.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert names(tmp_path) == ["result.csv"]


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(OSError) as failure, replacing(tmp_path / "result.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")  # as write() raises it, which knows no name
    assert failure.value.filename == str(tmp_path / "result.csv")


def test_a_folder_appears_with_all_its_files(tmp_path):
    target = tmp_path / "Dataset001"
    with replacing(target) as unfinished:
        (unfinished / "imagesTr").mkdir(parents=True)
        (unfinished / "imagesTr" / "case.nii.gz").touch()
        assert not target.exists()
    assert names(tmp_path) == ["Dataset001", "case.nii.gz", "imagesTr"]


def test_after_an_error_nothing_of_a_folder_is_left(tmp_path):
    with pytest.raises(ValueError, match="stopped"), replacing(tmp_path / "Dataset001") as unfinished:
        (unfinished / "imagesTr").mkdir(parents=True)
        raise ValueError("stopped")
    assert names(tmp_path) == []


def test_a_folder_never_replaces_one_that_has_content(tmp_path):
    target = tmp_path / "Dataset001"
    target.mkdir()
    (target / "dataset.json").write_text("{}")
    with pytest.raises(OSError), replacing(target) as unfinished:
        unfinished.mkdir()
    assert names(tmp_path) == ["Dataset001", "dataset.json"]


@pytest.mark.parametrize("is_folder", [True, False])
def test_what_a_killed_process_left_is_removed_first(tmp_path, is_folder):
    with replacing(tmp_path / "model") as unfinished:
        unfinished.touch()
    if is_folder:
        unfinished.mkdir()
        (unfinished / "half").touch()
    else:
        unfinished.touch()
    with replacing(tmp_path / "model") as again:
        assert again == unfinished and not unfinished.exists()
        again.write_text("whole")
    assert names(tmp_path) == ["model"] and (tmp_path / "model").read_text() == "whole"


def test_json_and_text_are_written_as_utf8_and_read_back(tmp_path):
    content = {"patient": "Müller", "spacing_mm": [1.0, 0.5], "label": None}
    assert read_json(write_json(tmp_path / "report" / "case.json", content)) == content
    assert "Müller".encode() in (tmp_path / "report" / "case.json").read_bytes()
    assert write_text(tmp_path / "notes.txt", "µm\n").read_bytes() == "µm\n".encode()


def test_a_value_that_json_lacks_leaves_the_old_file(tmp_path):
    target = write_json(tmp_path / "case.json", {"dice": 0.5})
    with pytest.raises(TypeError):
        write_json(target, {"dice": {0.5}})
    assert json.loads(target.read_text()) == {"dice": 0.5}
    assert names(tmp_path) == ["case.json"]


def test_remove_takes_files_folders_and_links_but_never_a_links_target(tmp_path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "sub" / "case").touch()
    (tmp_path / "link").symlink_to(tmp_path / "data", target_is_directory=True)
    remove(tmp_path / "link")
    assert names(tmp_path) == ["case", "data", "sub"]
    remove(tmp_path / "data" / "sub" / "case")
    assert names(tmp_path) == ["data", "sub"]
    remove(tmp_path / "data")
    remove(tmp_path / "absent")
    assert names(tmp_path) == []
