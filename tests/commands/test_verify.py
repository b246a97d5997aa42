"""`ser-nnunet verify`: exit status, table, JSON, and a page that holds all it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from ser_nnunet.cli import main
from ser_nnunet.errors import UserError
from ser_nnunet.verification import verify
from ser_nnunet.verification.verification_page import write_page
from tests.verification.samples import change, change_voxels, write_mri


@pytest.fixture
def mri(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    return write_mri(tmp_path / "Dataset700_Sample")


def run(*more: str) -> int:
    return main(["verify", "-d", "700", "-np", "1", *more])


def test_a_clean_data_set_has_status_0(mri: Path, capsys):
    assert run() == 0
    printed = capsys.readouterr().out
    assert "Dataset700_Sample: 6 training and 2 test cases; channels: FLAIR, T1; classes: lesion" in printed
    assert printed.rstrip().endswith("no errors, no warnings")


def test_errors_have_status_1_and_are_listed_with_advice(mri: Path, tmp_path: Path, capsys):
    change_voxels(mri / "labelsTr/P2_a.nii.gz", lambda label: label[:, ::-1])
    change_voxels(mri / "labelsTr/P3_a.nii.gz", np.zeros_like)
    assert run("--json", str(tmp_path / "result.json")) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines if line.startswith(("error", "warning"))] == [
        ["error", "empty", "mask", "P3_a"],
        ["warning", "mask", "position", "P2_a"],
    ]
    assert any(line.startswith("  empty mask: ") for line in lines) and "1 error and 1 warning in 2 cases" in lines
    content = json.loads((tmp_path / "result.json").read_text())
    assert (content["errors"], content["warnings"]) == (1, 1)
    assert content["findings"][0] == {
        "severity": "error",
        "kind": "empty mask",
        "case": "P3_a",
        "text": "P3_a.nii.gz has no foreground voxel",
    }


def test_warnings_alone_have_status_0(mri: Path):
    change_voxels(mri / "labelsTr/P2_a.nii.gz", lambda label: label[:, ::-1])
    assert run() == 0


def test_an_unknown_data_set_and_an_output_that_cannot_be_written_have_status_2(mri: Path, tmp_path: Path, capsys):
    assert main(["verify", "-d", "701"]) == 2
    assert "there is no data set 701" in capsys.readouterr().err
    assert run("--html", str(tmp_path)) == 2
    assert "it is a folder, expected a file name" in capsys.readouterr().err


def test_users_files_are_not_replaced_and_all_are_named_before_anything_is_read(mri: Path, tmp_path: Path, capsys):
    page, described = tmp_path / "page.html", mri / "dataset.json"
    page.write_text("<html>my page")
    before = described.read_bytes()
    (mri / "labelsTr/P2_a.nii.gz").write_bytes(b"no image")
    assert run("--json", str(described), "--html", str(page)) == 2
    printed = capsys.readouterr()
    assert f"{described} was not written by `ser-nnunet verify --json`" in printed.err
    assert f"{page} was not written by `ser-nnunet verify --html`" in printed.err and "P2_a" not in printed.out
    assert page.read_text() == "<html>my page" and described.read_bytes() == before
    result = verify(mri, processes=1)
    with pytest.raises(UserError, match=r"page\.html was not written by"):
        write_page(result, page, progress=False)
    with pytest.raises(UserError, match=r"dataset\.json was not written by"):
        result.write_json(described)
    assert page.read_text() == "<html>my page" and described.read_bytes() == before


def test_an_earlier_verifications_files_are_replaced_and_not_taken_for_each_other(mri: Path, tmp_path: Path, capsys):
    findings, page = tmp_path / "findings.json", tmp_path / "findings.html"
    assert run("--json", str(findings), "--html", str(page)) == 0
    change_voxels(mri / "labelsTr/P3_a.nii.gz", np.zeros_like)
    assert run("--json", str(findings), "--html", str(page)) == 1
    assert json.loads(findings.read_text())["errors"] == 1 and "no foreground voxel" in page.read_text("utf-8")
    capsys.readouterr()
    assert run("--json", str(page), "--html", str(findings)) == 2
    assert capsys.readouterr().err.count("was not written by") == 2


def test_one_file_for_two_outputs_is_refused(mri: Path, tmp_path: Path, capsys):
    (tmp_path / "link").symlink_to(tmp_path)
    for other in (tmp_path, tmp_path / "link"):
        assert run("--json", str(tmp_path / "findings"), "--html", str(other / "findings")) == 2
        assert "is named for two outputs" in capsys.readouterr().err and not (tmp_path / "findings").exists()


def test_the_page_shows_findings_with_pictures_and_loads_nothing(mri: Path, tmp_path: Path):
    change(mri / "labelsTr/P3_a.nii.gz", lambda label: label[:-2])
    change_voxels(mri / "labelsTr/P2_a.nii.gz", lambda label: label[:, ::-1])
    for channel in ("0000", "0001"):
        (mri / f"imagesTs/P9_a_{channel}.nii.gz").rename(mri / f"imagesTs/<b>&_{channel}.nii.gz")
    change_voxels(mri / "imagesTs/<b>&_0000.nii.gz", lambda array: array * 0)
    page = tmp_path / "page.html"
    assert run("--html", str(page)) == 1
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text and not re.search(r"(?:src|href)=\"(?!#|data:)", text)
    assert "&lt;b&gt;&amp;" in text and "<b>&" not in text
    assert text.count('href="data:image/png;base64,') == 3 and "its label has another shape" in text
    assert text.count('<path class="reference"') == 1, "the outline of the one label that fits its image"
    assert text.count("<tr data-case=") == 3
    assert run("--html", str(page), "--pictures", "0") == 1
    assert "data:image" not in page.read_text(encoding="utf-8").replace("img-src data:", "")
