"""BIDS: sessions are time points of a patient, labels come from derivatives, and errors list what there is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ser_nnunet.cli import main
from tests.dataset_conversion.volumes import image_of, mask, save, scalar_image

SCANS = [("01", "1"), ("01", "2"), ("02", "1"), ("03", "1")]


@pytest.fixture
def source(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    root = tmp_path / "source"
    for seed, (subject, session) in enumerate(SCANS):
        name, folder = f"sub-{subject}_ses-{session}", f"sub-{subject}/ses-{session}/anat"
        for offset, suffix in enumerate(("FLAIR", "acq-iso_T1w", "acq-thick_T1w")):
            image = (scalar_image(10 * seed + offset) / 10 + 200 * mask(seed)).astype(np.float32)
            save(image_of(image), root / folder / f"{name}_{suffix}.nii.gz")
        save(image_of(mask(seed)), root / "derivatives/manual" / folder / f"{name}_desc-lesion_mask.nii.gz")
        save(image_of(mask(seed)), root / "sourcedata" / folder / f"{name}_FLAIR.nii.gz")
    content = {"Name": "MS, scans", "BIDSVersion": "1.9.0", "License": "CC0", "HowToAcknowledge": "cite us"}
    (root / "dataset_description.json").write_text(json.dumps(content))
    return root


def run(source: Path, *more: str, channels: tuple = ("FLAIR", "acq-iso_T1w"), label: str = "desc-lesion_mask") -> int:
    command = ["convert", "bids", str(source), "-d", "610", "-np", "1", "--channel", *channels, "--label", label]
    return main([*command, "--labels", "lesion=1", *more])


def test_sessions_are_time_points_and_the_description_is_kept(source: Path, tmp_path: Path):
    assert run(source, "--test", "sub-03") == 0
    folder = tmp_path / "raw" / "Dataset610_MSscans"
    content = json.loads((folder / "dataset.json").read_text())
    assert (content["licence"], content["citation"]) == ("CC0", "cite us")
    assert content["channel_names"] == {"0": "FLAIR", "1": "acq-iso_T1w"}
    record = json.loads((folder / "conversion.json").read_text())["cases"]
    assert {case: entry["patient"] for case, entry in record.items()} == {
        "sub-01_ses-1": "sub-01",
        "sub-01_ses-2": "sub-01",
        "sub-02_ses-1": "sub-02",
        "sub-03_ses-1": "sub-03",
    }
    assert [path.name for path in (folder / "labelsTs").iterdir()] == ["sub-03_ses-1.nii.gz"]
    splits = json.loads((folder / "splits_final.json").read_text())
    assert sorted(map(len, (fold["val"] for fold in splits))) == [1, 2]


def test_what_is_not_there_is_named_with_what_there_is(source: Path, capsys):
    assert run(source, channels=("FLAIR", "T2w"), label="dseg") == 2
    shown = capsys.readouterr().err
    assert "--channel T2w: there is no such image in the raw data" in shown
    assert "--label dseg: there is no such file in any pipeline" in shown
    assert "derivatives/manual: desc-lesion_mask (4)" in shown and "the raw data: acq-iso_T1w (4)" in shown


def test_files_that_the_entities_do_not_tell_apart_are_an_error(source: Path, capsys):
    assert run(source, channels=("FLAIR", "T1w")) == 2
    shown = capsys.readouterr().err
    assert "sub-01_ses-1: 2 files are its T1w" in shown and "an entity such as run-1 in BIDS" in shown


def test_of_several_files_the_one_without_further_entities_is_taken(source: Path, tmp_path: Path, capsys):
    """Beside each FLAIR and mask lies a file of the same kind with one entity more; session 2 of 01 has that alone."""
    for subject, session in SCANS:
        name = f"sub-{subject}/ses-{session}/anat/sub-{subject}_ses-{session}"
        save(image_of(scalar_image(700 + int(subject + session))), source / f"{name}_ce-GADOLINIUM_FLAIR.nii.gz")
        save(image_of(mask(50)), source / "derivatives/manual" / f"{name}_space-T1w_desc-lesion_mask.nii.gz")
    (source / "sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz").unlink()
    assert run(source) == 0
    shown = capsys.readouterr()
    note = (
        "files of the FLAIR differ: FLAIR in 3 cases, ce-GADOLINIUM_FLAIR in 1 (sub-01_ses-2). Do they mean the same?"
    )
    assert note in shown.out + shown.err and "files of the acq-iso_T1w differ" not in shown.out + shown.err
    record = json.loads((tmp_path / "raw/Dataset610_MSscans/conversion.json").read_text())["cases"]
    sources = {next(iter(file["source"])).rpartition("/")[2] for entry in record.values() for file in entry["files"]}
    assert sources == {
        f"sub-{subject}_ses-{session}_{kind}.nii.gz"
        for subject, session in SCANS
        for kind in (
            "ce-GADOLINIUM_FLAIR" if (subject, session) == ("01", "2") else "FLAIR",
            "acq-iso_T1w",
            "desc-lesion_mask",
        )
    }
    file = source / "sub-02/ses-1/anat/sub-02_ses-1_FLAIR.nii.gz"
    save(image_of(scalar_image(800)), file.with_name("sub-02_ses-1_run-2_FLAIR.nii.gz"))
    file.unlink()
    assert run(source, "--overwrite") == 2
    assert "sub-02_ses-1: 2 files are its FLAIR" in capsys.readouterr().err


def test_a_file_belongs_to_the_channel_with_more_entities(source: Path, tmp_path: Path):
    for subject, session in SCANS:
        name = f"sub-{subject}/ses-{session}/anat/sub-{subject}_ses-{session}"
        (source / f"{name}_acq-thick_T1w.nii.gz").rename(source / f"{name}_T1w.nii.gz")
    assert run(source, channels=("T1w", "acq-iso_T1w")) == 0
    record = json.loads((tmp_path / "raw/Dataset610_MSscans/conversion.json").read_text())["cases"]["sub-02_ses-1"]
    sources = {file["role"]: next(iter(file["source"])).rpartition("/")[2] for file in record["files"]}
    assert sources["T1w"] == "sub-02_ses-1_T1w.nii.gz"
    assert sources["acq-iso_T1w"] == "sub-02_ses-1_acq-iso_T1w.nii.gz"


def test_several_pipelines_with_the_label_must_be_chosen_from(source: Path, capsys):
    save(image_of(mask(7)), source / "derivatives/auto/sub-01/ses-1/anat/sub-01_ses-1_desc-lesion_mask.nii.gz")
    assert run(source) == 2
    expected = "choose one with --label-pipeline: auto (1 files), manual (4 files)"
    assert expected in capsys.readouterr().err
    assert run(source, "--label-pipeline", "derivatives/manual") == 0


def test_labels_beside_the_images_need_no_pipeline(source: Path):
    for subject, session in SCANS:
        name = f"sub-{subject}/ses-{session}/anat/sub-{subject}_ses-{session}"
        file = source / "derivatives/manual" / f"{name}_desc-lesion_mask.nii.gz"
        file.rename(source / f"{name}_label-lesion_roi.nii.gz")
    assert run(source, label="label-lesion_roi") == 0


def test_a_file_in_another_subjects_folder_is_an_error(source: Path, capsys):
    for suffix in ("FLAIR", "acq-iso_T1w"):
        file = source / f"sub-02/ses-1/anat/sub-02_ses-1_{suffix}.nii.gz"
        file.rename(source / "sub-03/ses-1/anat" / file.name)
    assert run(source) == 2
    assert "sub-02_ses-1_FLAIR.nii.gz lies in the folder sub-03, its name says sub-02 ses-1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--test", "sub-09"], "--test: there is no subject 09"),
        (["--channel", "FLAIR", "FLAIR"], "each suffix once"),
        (["--channel", "acq_FLAIR"], "a suffix, with entities if needed, expected"),
    ],
)
def test_options_that_do_not_fit_are_an_error(source: Path, capsys, more: list[str], message: str):
    assert run(source, *more) == 2
    assert message in capsys.readouterr().err


def test_a_damaged_description_is_an_error(source: Path, capsys):
    (source / "dataset_description.json").write_text("{")
    assert run(source) == 2
    assert "dataset_description.json expected, it can't be read" in capsys.readouterr().err


def test_scans_without_labels_are_sessions_of_the_subject_in_their_names(source: Path, tmp_path: Path):
    for name in ("sub-01_ses-3", "sub-04"):
        for channel in range(2):
            save(image_of(scalar_image(500 + 2 * len(name) + channel)), tmp_path / f"scans/{name}_{channel:04d}.nii.gz")
    assert run(source, "--unlabelled", str(tmp_path / "scans")) == 0
    folder = tmp_path / "raw" / "Dataset610_MSscans"
    for fold in json.loads((folder / "splits_final.json").read_text()):
        assert "sub-04" in fold["train"] and ("sub-01_ses-3" in fold["train"]) == ("sub-01_ses-1" in fold["train"])
