"""Clean copies of all data sets convert: every voxel stays where it was in the world, nnU-Net gets what it needs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ser_nnunet.dataset_conversion import convert

from tests.dataset_conversion.builders import BUILDERS, LABEL, Toy

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


def tree_hash(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def converted(toy: Toy, raw: Path, **options) -> Path:
    report = convert(toy.source, 701, dataset=toy.dataset, raw=raw, processes=1, **{**toy.options, **options})
    assert report.folder is not None
    return report.folder


def written(folder: Path, case: str, role: int | None) -> sitk.Image:
    kind = "labels" if role is None else "images"
    name = f"{case}.nii.gz" if role is None else f"{case}_{role:04d}.nii.gz"
    found = [path for path in (folder / f"{kind}Tr" / name, folder / f"{kind}Ts" / name) if path.exists()]
    assert len(found) == 1, f"{name} is in {len(found)} folders"
    return sitk.ReadImage(str(found[0]))


def assert_same_in_world(source: sitk.Image, other: sitk.Image, interpolator: int) -> None:
    """Values at random points of the world, taken through each image's own geometry."""
    rng = np.random.default_rng(0)
    upper = np.array(source.GetSize()) - 2.0
    for _ in range(60):
        index = rng.uniform(1, upper)
        if interpolator == sitk.sitkNearestNeighbor:
            index = np.rint(index)
        point = source.TransformContinuousIndexToPhysicalPoint(index.tolist())
        expected = source.EvaluateAtPhysicalPoint(point, interpolator)
        assert other.EvaluateAtPhysicalPoint(point, interpolator) == pytest.approx(expected, rel=1e-3, abs=1e-2)


@pytest.mark.parametrize("name", BUILDERS)
def test_every_voxel_stays_where_it_was_in_the_world(name: str, tmp_path: Path):
    toy = BUILDERS[name](tmp_path / "source")
    before = tree_hash(tmp_path / "source")
    folder = converted(toy, tmp_path / "raw")
    for (case, role), source in toy.truth.items():
        if role == LABEL:
            result = written(folder, case, None)
            assert result.GetPixelID() == sitk.sitkUInt8
            truth = sitk.Cast(source, sitk.sitkFloat64)
            truth = truth > 0.5 if name.startswith("multisite") else sitk.Cast(sitk.Round(truth), sitk.sitkUInt8)
            assert_same_in_world(truth, result, sitk.sitkNearestNeighbor)
        elif source.GetDimension() == 4:
            for channel in range(source.GetSize()[3]):
                assert_same_in_world(source[:, :, :, channel], written(folder, case, channel), sitk.sitkLinear)
        else:
            assert_same_in_world(source, written(folder, case, toy.roles.index(role)), sitk.sitkLinear)
    assert tree_hash(tmp_path / "source") == before
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [folder.name]


@pytest.mark.parametrize("name", BUILDERS)
def test_files_of_nnunet_are_complete_and_folds_leak_nothing(name: str, tmp_path: Path):
    toy = BUILDERS[name](tmp_path / "source")
    folder = converted(toy, tmp_path / "raw")
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
def test_the_record_leads_from_every_file_back_to_its_source(name: str, tmp_path: Path):
    toy = BUILDERS[name](tmp_path / "source")
    folder = converted(toy, tmp_path / "raw")
    for case, entry in json.loads((folder / "conversion.json").read_text())["cases"].items():
        for file in entry["files"]:
            target = folder / file["file"]
            assert file["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
            home = toy.files[case, file["role"]]
            files = set(home.iterdir()) if home.is_dir() else {home, home.with_suffix(".raw")}
            expected = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.exists()}
            assert {toy.source / path: digest for path, digest in file["source"].items()} == expected
            if file["changes"] == ["none: copied as it is"]:
                assert target.read_bytes() == home.read_bytes() and {file["sha256"]} == set(expected.values())


@pytest.mark.slow
def test_nnunet_verifies_and_plans_every_data_set(tmp_path: Path):
    ids = []
    for number, name in enumerate(PLANNED, start=701):
        toy = BUILDERS[name](tmp_path / name)
        convert(toy.source, number, dataset=toy.dataset, raw=tmp_path / "raw", processes=1, **toy.options)
        ids.append(str(number))
    command = Path(sys.executable).with_name("nnUNetv2_plan_and_preprocess")
    arguments = ["-d", *ids, "-c", "2d", "--verify_dataset_integrity", "-npfp", "1", "-np", "1"]
    folders = {f"nnUNet_{name}": str(tmp_path / name) for name in ("raw", "preprocessed", "results")}
    environment = {**os.environ, **folders, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([command, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("verify_dataset_integrity Done") == len(ids)
    assert "mismatch" not in done.stdout.lower() and "WARNING! Not all input images" not in done.stdout
    for folder in (tmp_path / "raw").iterdir():
        copied = (tmp_path / "preprocessed" / folder.name / "splits_final.json").read_text()
        assert json.loads(copied) == json.loads((folder / "splits_final.json").read_text())
