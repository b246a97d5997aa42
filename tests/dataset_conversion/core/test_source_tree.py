"""What users point at: archives, wrong folders, nested roots, nnUNet_raw inside the source."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ser_nnunet.dataset_conversion import convert
from ser_nnunet.errors import UserError
from tests.dataset_conversion.builders import mslesseg


@pytest.mark.parametrize(
    ("name", "message"),
    [("data.zip", "is an archive: unpack"), ("data.nii", "is a file"), ("absent", "does not exist")],
)
def test_a_path_that_is_no_folder_is_explained(tmp_path: Path, name: str, message: str):
    if name != "absent":
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(UserError, match=message):
        convert(tmp_path / name, 705, dataset="mslesseg", raw=tmp_path / "raw")


def test_a_folder_of_archives_asks_for_unpacking(tmp_path: Path):
    (tmp_path / "training_data.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"holds archives \(training_data\.zip\): unpack them"):
        convert(tmp_path, 705, dataset="promise12", raw=tmp_path / "raw")


def test_links_to_folders_are_followed_and_loops_are_not(tmp_path: Path):
    sample = mslesseg(tmp_path / "elsewhere")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "link").symlink_to(sample.source)
    (sample.source / "loop").symlink_to(sample.source)
    report = convert(
        tmp_path / "source", 705, dataset="mslesseg", raw=tmp_path / "raw", allow_partial=True, processes=1
    )
    assert len(report.cases) == len(sample.cases)


def test_a_folder_that_cannot_be_read_is_an_error_and_not_left_out(tmp_path: Path, monkeypatch):
    sample = mslesseg(tmp_path / "source")
    locked = next(iter(sample.files.values())).parent
    scandir = os.scandir

    def refuse(place):
        if Path(place) == locked:
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)  # root may read every folder
    with pytest.raises(UserError, match=f"can't be read.*\n  {locked} \\(Permission denied\\)"):
        convert(sample.source, 705, dataset="mslesseg", raw=tmp_path / "raw", allow_partial=True, processes=1)
    assert not (tmp_path / "raw").exists()


def test_a_link_to_a_folder_around_the_source_is_an_error_and_not_searched(tmp_path: Path):
    sample = mslesseg(tmp_path / "source")
    (sample.source / "everything").symlink_to("/")
    with pytest.raises(UserError, match=r"everything is a link to /, which contains .* itself: remove the link"):
        convert(sample.source, 705, dataset="mslesseg", raw=tmp_path / "raw", allow_partial=True, processes=1)
