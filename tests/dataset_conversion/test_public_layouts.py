"""The commands of docs/datasets.md for MSSEG-2016 and ISBI-2015, on made-up trees with the names of those data sets."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from ser_nnunet.cli import main
from tests.conftest import REPOSITORY
from tests.dataset_conversion.volumes import image_of, mask, save, scalar_image


def documented(source: str) -> list[str]:
    """Return the words of the command that converts the folder `source`."""
    text = (REPOSITORY / "docs" / "datasets.md").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if line.strip().startswith(f"ser-nnunet convert folders {source} ")]
    return shlex.split(line)[1:]


def write_scan(images: list[Path], masks: list[Path], seed: int) -> None:
    for channel, file in enumerate(images):
        save(image_of((scalar_image(seed + 100 * channel) / 10 + 200 * mask(seed)).astype(np.float32)), file)
    for file in masks:
        save(image_of(mask(seed)), file)


def write_msseg(root: Path) -> None:
    """Five patients, numbered anew in every centre of both parts."""
    places = [("Training", "01"), ("Training", "07"), ("Training", "08"), ("Testing", "01"), ("Testing", "03")]
    for seed, (part, centre) in enumerate(places):
        folder = root / part / f"Center_{centre}" / "Patient_01"
        images = [folder / f"Preprocessed_Data/{name}_preprocessed.nii.gz" for name in ("FLAIR", "T1", "T2")]
        raw = [folder / f"Raw_Data/{name}.nii.gz" for name in ("FLAIR", "T1", "T2")]
        masks = [folder / f"Masks/{name}.nii.gz" for name in ("Consensus", "ManualSegmentation_1", "Brain_Mask")]
        write_scan([*images, *raw], masks, seed)


def write_isbi(root: Path) -> None:
    """Two patients with two time points for training, one for testing, whose masks are not published."""
    for seed, (part, patient) in enumerate(
        [("training", "training01"), ("training", "training02"), ("test", "test01")]
    ):
        folder = root / ("testdata_website" if part == "test" else part) / patient
        for time in ("01", "02"):
            images = [folder / f"preprocessed/{patient}_{time}_{name}_pp.nii" for name in ("flair", "mprage", "t2")]
            masks = [folder / f"masks/{patient}_{time}_mask{rater}.nii" for rater in (1, 2)] if part != "test" else []
            write_scan(images, masks, 10 * seed + int(time))


@pytest.mark.parametrize(
    ("source", "write", "patients", "test"),
    [
        ("MSSEG", write_msseg, ["Training/Center_01_01", "Training/Center_07_01", "Training/Center_08_01"], 2),
        ("ISBI", write_isbi, ["training01", "training01", "training02", "training02"], 2),
    ],
)
def test_the_documented_command_converts_the_layout(source, write, patients, test, tmp_path: Path, monkeypatch):
    write(tmp_path / source)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    monkeypatch.chdir(tmp_path)
    assert main([*documented(source), "-np", "1"]) == 0
    (folder,) = (tmp_path / "raw").iterdir()
    content = json.loads((folder / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "FLAIR", "1": "T1"} and content["numTraining"] == len(patients)
    cases = json.loads((folder / "conversion.json").read_text())["cases"]
    assert sorted(case["patient"] for case in cases.values() if case["split"] == "train") == patients
    assert sum(case["split"] == "test" for case in cases.values()) == test
    for case in cases.values():  # the files that the layout means, not the raw images or another mask beside them
        for file in case["files"]:
            (origin,) = file["source"]
            label = "Consensus" if source == "MSSEG" else "_mask1"
            expected = {"label": label, "FLAIR": "flair", "T1": "mprage" if source == "ISBI" else "t1_pre"}[
                file["role"]
            ]
            assert expected.lower() in origin.lower() and "raw_data" not in origin.lower()
