"""What is changed for writing, and recorded: rounded values, header numbers within the tolerance, number types."""

from __future__ import annotations

import json
from pathlib import Path

import SimpleITK as sitk

from tests.dataset_conversion.builders import LABEL, pansegdata
from tests.dataset_conversion.helpers import convert_sample, count_label_values
from tests.dataset_conversion.volumes import save


def test_near_integers_are_rounded_and_that_is_recorded(tmp_path: Path):
    report = convert_sample(pansegdata(tmp_path / "source"), tmp_path / "raw")
    assert count_label_values(report.folder, "NYU_0001") == {0: 5280 - 61, 1: 61}
    record = json.loads((report.folder / "conversion.json").read_text())["cases"]["NYU_0001"]["files"][1]
    assert "values rounded (by at most 1e-05)" in record["changes"]


def test_headers_within_the_tolerance_become_those_of_the_image(tmp_path: Path):
    sample = pansegdata(tmp_path / "source", "T2")
    label = sample.truth["NYU_0001", LABEL]
    label.SetOrigin([number + 0.01 for number in label.GetOrigin()])
    save(label, sample.files["NYU_0001", LABEL])
    folder = convert_sample(sample, tmp_path / "raw").folder
    image, label = (
        sitk.ReadImage(str(folder / name)) for name in ("imagesTr/NYU_0001_0000.nii.gz", "labelsTr/NYU_0001.nii.gz")
    )
    assert (image.GetOrigin(), image.GetSpacing()) == (label.GetOrigin(), label.GetSpacing())
    assert image.GetDirection() == label.GetDirection()
    record = json.loads((folder / "conversion.json").read_text())["cases"]["NYU_0001"]["files"][1]
    assert "header moved by 0.02 mm onto the first channel's" in record["changes"]
