"""What users point at: archives, wrong folders, nested roots, nnUNet_raw inside the source."""

from __future__ import annotations

from pathlib import Path

import pytest
from ser_nnunet.dataset_conversion import ConversionError, convert

from ser_nnunet.errors import UserError
from tests.dataset_conversion.builders import msd_prostate, mslesseg


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


def test_what_lies_in_nnunet_raw_is_not_found_again(tmp_path: Path):
    toy = mslesseg(tmp_path)
    for _ in range(2):
        report = convert(
            tmp_path, 705, dataset="mslesseg", raw=tmp_path / "raw", overwrite=True, allow_partial=True, processes=1
        )
    assert len(report.cases) == len(toy.cases)


def test_a_dry_run_scans_and_refuses_what_the_real_run_does(tmp_path: Path, monkeypatch):
    toy = mslesseg(tmp_path)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    options = {"dataset": "mslesseg", "allow_partial": True, "processes": 1}
    convert(tmp_path, 705, **options)
    report = convert(tmp_path, 706, dry_run=True, **options)
    assert len(report.cases) == len(toy.cases) and not [note for note in report.notes if note.kind == "extra file"]
    with pytest.raises(UserError, match="Dataset705_MSLesSeg exists"):
        convert(tmp_path, 705, dry_run=True, **options)


def test_a_dry_run_without_nnunet_raw_notes_that_the_id_was_not_checked(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    toy = mslesseg(tmp_path)
    report = convert(toy.source, 705, dataset="mslesseg", allow_partial=True, processes=1, dry_run=True)
    assert "whether the id 705 is free was not checked" in str(report.notes)


def test_nnunet_raw_itself_is_no_source(tmp_path: Path):
    with pytest.raises(UserError, match="is nnUNet_raw itself"):
        convert(tmp_path, 705, dataset="mslesseg", raw=tmp_path)


def test_a_data_set_cannot_be_converted_into_its_own_place(tmp_path: Path):
    toy = msd_prostate(tmp_path / "source")
    place = tmp_path / "raw" / "Dataset005_Prostate"
    place.parent.mkdir()
    toy.source.rename(place)
    with pytest.raises(UserError, match="is where the data set would be written"):
        convert(place, 5, dataset="msd", name="Prostate", raw=tmp_path / "raw", overwrite=True)
    assert (place / "dataset.json").exists()


def test_links_to_folders_are_followed_and_loops_are_not(tmp_path: Path):
    toy = mslesseg(tmp_path / "elsewhere")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "link").symlink_to(toy.source)
    (toy.source / "loop").symlink_to(toy.source)
    report = convert(
        tmp_path / "source", 705, dataset="mslesseg", raw=tmp_path / "raw", allow_partial=True, processes=1
    )
    assert len(report.cases) == len(toy.cases)


def test_paths_in_messages_are_relative_to_the_source(tmp_path: Path, monkeypatch):
    """SOURCE is `test`, and below it lie the competition's `test/test` and `test/test_MASK`."""
    toy = mslesseg(tmp_path, "2024")
    (toy.source / "MSLesSeg Dataset" / "MSLesSeg Dataset").rename(tmp_path / "test")
    image = tmp_path / "test" / "test" / "test" / "P54" / "P54_T1.nii.gz"
    image.write_bytes(b"nothing of the kind")
    (image.parents[1] / "P55" / "P55_T2.nii.gz").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConversionError) as caught:
        convert("test", 705, dataset="mslesseg", raw=tmp_path / "raw", allow_partial=True, processes=1)
    texts = {problem.case: problem.text for problem in caught.value.problems if problem.fatal}
    assert texts["P54"].startswith("test/test/P54/P54_T1.nii.gz")
    assert texts["P55"].startswith("test/test/P55 lacks T2")
