"""Data sets without faults: every voxel keeps its place in the world, nnU-Net gets the files that it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ser_nnunet.dataset_conversion import ConversionError, convert
from ser_nnunet.errors import UserError
from ser_nnunet.utils.hashing import file_sha256
from tests.conftest import REPOSITORY
from tests.dataset_conversion.builders import BUILDERS, LABEL, mslesseg, multisite_prostate
from tests.dataset_conversion.helpers import convert_sample, hash_tree

PLANNED = (
    "mslesseg",
    "mslesseg_2024",
    "pancreas_dicom",
    "pancreas_nifti",
    "pansegdata",
    "promise12",
    "multisite_prostate",
    "msd_pancreas",
    "msd_prostate",
)


def read_written(folder: Path, case: str, role: int | None) -> sitk.Image:
    kind = "labels" if role is None else "images"
    name = f"{case}.nii.gz" if role is None else f"{case}_{role:04d}.nii.gz"
    found = [path for path in (folder / f"{kind}Tr" / name, folder / f"{kind}Ts" / name) if path.exists()]
    assert len(found) == 1, f"{name} is in {len(found)} folders"
    return sitk.ReadImage(str(found[0]))


def assert_same_in_world(source: sitk.Image, other: sitk.Image, interpolator: int) -> None:
    """Compare values at 60 random points of the world, for labels also at every foreground voxel.

    Each image is sampled through its own geometry.
    """
    indices = np.random.default_rng(0).uniform(1, np.array(source.GetSize()) - 2.0, (60, 3))
    if interpolator == sitk.sitkNearestNeighbor:
        foreground = np.argwhere(sitk.GetArrayViewFromImage(source) > 0)[:, ::-1]
        assert len(foreground)
        indices = np.concatenate([np.rint(indices), foreground])
    for index in indices:
        point = source.TransformContinuousIndexToPhysicalPoint(index.tolist())
        expected = source.EvaluateAtPhysicalPoint(point, interpolator)
        assert other.EvaluateAtPhysicalPoint(point, interpolator) == pytest.approx(expected, rel=1e-3, abs=1e-2)


@pytest.mark.parametrize("name", BUILDERS)
def test_every_voxel_stays_where_it_was_in_the_world(name: str, tmp_path: Path):
    sample = BUILDERS[name](tmp_path / "source")
    before = hash_tree(tmp_path / "source")
    folder = convert_sample(sample, tmp_path / "raw").folder
    for (case, role), source in sample.truth.items():
        if role == LABEL:
            result = read_written(folder, case, None)
            assert result.GetPixelID() == sitk.sitkUInt8
            label = sitk.Cast(source, sitk.sitkFloat64)
            label = label > 0.5 if name.startswith("multisite") else sitk.Cast(sitk.Round(label), sitk.sitkUInt8)
            assert_same_in_world(label, result, sitk.sitkNearestNeighbor)
        elif source.GetDimension() == 4:
            for channel in range(source.GetSize()[3]):
                assert_same_in_world(source[:, :, :, channel], read_written(folder, case, channel), sitk.sitkLinear)
        else:
            assert_same_in_world(source, read_written(folder, case, sample.roles.index(role)), sitk.sitkLinear)
    assert hash_tree(tmp_path / "source") == before
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [folder.name]


@pytest.mark.parametrize("name", BUILDERS)
def test_nnunets_files_are_complete_and_no_patient_is_in_both_sides_of_a_fold(name: str, tmp_path: Path):
    sample = BUILDERS[name](tmp_path / "source")
    folder = convert_sample(sample, tmp_path / "raw").folder
    content = json.loads((folder / "dataset.json").read_text())
    record = json.loads((folder / "conversion.json").read_text())["cases"]
    train = {case for case, entry in record.items() if entry["split"] == "train"}
    labels = {path.name[:-7] for path in (folder / "labelsTr").iterdir()}
    images = {path.name for path in (folder / "imagesTr").iterdir()}
    assert labels == train and content["numTraining"] == len(train)
    assert images == {
        f"{case}_{channel:04d}.nii.gz" for case in train for channel in range(len(content["channel_names"]))
    }
    assert content["file_ending"] == ".nii.gz" and content["licence"] and content["citation"] and content["reference"]
    assert ("CT" in content["channel_names"].values()) == ("pancreas" in name)
    folds = json.loads((folder / "splits_final.json").read_text())
    held_out = [case for fold in folds for case in fold["val"]]
    assert len(folds) == 5 and sorted(held_out) == sorted(train)
    for fold in folds:
        assert set(fold["train"]) | set(fold["val"]) == train
        patients = [{record[case]["patient"] for case in fold[side]} for side in ("train", "val")]
        assert not patients[0] & patients[1]


@pytest.mark.parametrize("name", ["mslesseg", "pancreas_dicom", "promise12"])
def test_conversion_json_names_the_source_of_every_file(name: str, tmp_path: Path):
    sample = BUILDERS[name](tmp_path / "source")
    folder = convert_sample(sample, tmp_path / "raw").folder
    for case, entry in json.loads((folder / "conversion.json").read_text())["cases"].items():
        for file in entry["files"]:
            target = folder / file["file"]
            assert file["sha256"] == file_sha256(target)
            home = sample.files[case, file["role"]]
            files = set(home.iterdir()) if home.is_dir() else {home, home.with_suffix(".raw")}
            expected = {path: file_sha256(path) for path in files if path.exists()}
            assert {sample.source / path: digest for path, digest in file["source"].items()} == expected
            if file["changes"] == ["none: copied as it is"]:
                assert target.read_bytes() == home.read_bytes() and {file["sha256"]} == set(expected.values())


@pytest.mark.slow
def test_nnunet_verifies_and_plans_every_data_set(tmp_path: Path):
    ids = []
    for number, name in enumerate(PLANNED, start=701):
        sample = BUILDERS[name](tmp_path / name)
        convert_sample(sample, tmp_path / "raw", number)
        ids.append(str(number))
    command = [sys.executable, "-m", "tests.nnunet_small", "nnUNetv2_plan_and_preprocess"]
    arguments = ["-d", *ids, "-c", "2d", "--verify_dataset_integrity", "-npfp", "1", "-np", "1"]
    folders = {f"nnUNet_{name}": str(tmp_path / name) for name in ("raw", "preprocessed", "results")}
    environment = {**os.environ, **folders, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *arguments], env=environment, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("verify_dataset_integrity Done") == len(ids)
    assert "mismatch" not in done.stdout.lower() and "WARNING! Not all input images" not in done.stdout
    for folder in (tmp_path / "raw").iterdir():
        copied = (tmp_path / "preprocessed" / folder.name / "splits_final.json").read_text()
        assert json.loads(copied) == json.loads((folder / "splits_final.json").read_text())


def test_orientations_that_differ_between_the_cases_of_a_known_data_set_are_noted(tmp_path: Path):
    sample = multisite_prostate(tmp_path)
    for case, role in list(sample.truth):
        if not case.startswith(("RUNMC", "BMC")):
            sample.add(case, role, sitk.DICOMOrient(sample.truth[case, role], "RAS"), sample.files[case, role])
    notes = convert_sample(sample, tmp_path / "raw", dry_run=True).notes
    text = "the axes are stored in 2 orientations (RAS 8, LPS 4): the network sees patients turned"
    assert [note.text for note in notes if note.kind == "orientation"] == [text]


def test_a_dry_run_scans_and_refuses_what_the_real_run_does(tmp_path: Path, monkeypatch):
    sample = mslesseg(tmp_path)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    options = {"dataset": "mslesseg", "allow_partial": True, "processes": 1}
    convert(tmp_path, 705, **options)
    report = convert(tmp_path, 706, dry_run=True, **options)
    assert len(report.cases) == len(sample.cases) and not [note for note in report.notes if note.kind == "extra file"]
    with pytest.raises(UserError, match="Dataset705_MSLesSeg exists"):
        convert(tmp_path, 705, dry_run=True, **options)


def test_a_dry_run_without_nnunet_raw_notes_that_the_id_was_not_checked(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    sample = mslesseg(tmp_path)
    report = convert(sample.source, 705, dataset="mslesseg", allow_partial=True, processes=1, dry_run=True)
    assert "whether the id 705 is free was not checked" in str(report.notes)


def test_paths_in_messages_are_relative_to_the_source(tmp_path: Path, monkeypatch):
    """SOURCE is `test`, and below it lie the competition's `test/test` and `test/test_MASK`."""
    sample = mslesseg(tmp_path, "2024")
    (sample.source / "MSLesSeg Dataset" / "MSLesSeg Dataset").rename(tmp_path / "test")
    image = tmp_path / "test" / "test" / "test" / "P54" / "P54_T1.nii.gz"
    image.write_bytes(b"nothing of the kind")
    (image.parents[1] / "P55" / "P55_T2.nii.gz").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConversionError) as caught:
        convert("test", 705, dataset="mslesseg", raw=tmp_path / "raw", allow_partial=True, processes=1)
    texts = {problem.case: problem.text for problem in caught.value.problems if problem.fatal}
    assert texts["P54"].startswith("test/test/P54/P54_T1.nii.gz")
    assert texts["P55"].startswith("test/test/P55 lacks T2")
