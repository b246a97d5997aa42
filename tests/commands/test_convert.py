"""The command line: what is printed where, and with which exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_nnunet.cli import main
from tests.dataset_conversion.builders import LABEL, Toy, mslesseg


@pytest.fixture
def toy(tmp_path: Path, monkeypatch) -> Toy:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    return mslesseg(tmp_path / "source")


def call(toy: Toy, *more: str) -> int:
    return main(["convert", "mslesseg", str(toy.source), "-d", "7", "-np", "1", *more])


def test_it_says_what_was_written_and_what_comes_next(toy: Toy, tmp_path: Path, capsys):
    assert call(toy) == 0
    printed = capsys.readouterr().out
    assert "Dataset007_MSLesSeg: 7 training cases of 6 patients, 2 test cases (2 with a label)" in printed
    assert "nnUNetv2_plan_and_preprocess -d 7" in printed and "10.1038/s41597-025-05250-y" in printed
    assert (tmp_path / "raw" / "Dataset007_MSLesSeg" / "dataset.json").exists()


def test_dry_run_prints_the_table_and_writes_nothing(toy: Toy, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.delenv("nnUNet_raw")
    assert call(toy, "--dry-run") == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("P54"))
    assert row.split()[:3] == ["P54", "P54", "test"]
    assert "P54/P54_FLAIR.nii.gz" in row and "P54/P54_MASK.nii.gz" in row
    assert not (tmp_path / "raw").exists()


def test_dry_run_of_a_faulty_data_set_prints_table_and_problems(toy: Toy, capsys):
    toy.files["P2_T1", LABEL].unlink()
    assert call(toy, "--dry-run") == 2
    printed = capsys.readouterr()
    assert "P10_T1" in printed.out
    assert "1 problem, nothing was written" in printed.err and "P2_T1: " in printed.err


def test_without_nnunet_raw_it_says_how_to_set_it(toy: Toy, capsys, monkeypatch):
    monkeypatch.delenv("nnUNet_raw")
    assert call(toy) == 2
    assert "export nnUNet_raw=" in capsys.readouterr().err


def test_a_shortfall_names_the_flag_that_accepts_it(tmp_path: Path, monkeypatch, capsys):
    from tests.dataset_conversion.builders import msd_prostate

    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    toy = msd_prostate(tmp_path / "source")
    toy.files["prostate_290", "image"].unlink()
    command = ["convert", "msd", str(toy.source), "-d", "5", "-np", "1"]
    assert main(command) == 2
    assert "--allow-partial" in capsys.readouterr().err
    assert main([*command, "--allow-partial"]) == 0


def test_the_help_says_when_the_flag_is_needed(capsys):
    with pytest.raises(SystemExit):
        main(["convert", "mslesseg", "--help"])
    assert "not needed for a sample (at most a tenth of the cases)" in " ".join(capsys.readouterr().out.split())


def test_a_case_that_does_not_exist_cannot_be_left_out(toy: Toy, capsys):
    assert call(toy, "--exclude", "P99_T1") == 2
    assert "P99_T1: there is no such case" in capsys.readouterr().err


@pytest.mark.slow
def test_several_processes_write_what_one_writes(toy: Toy, tmp_path: Path):
    from tests.dataset_conversion.test_clean import tree_hash

    assert call(toy) == 0
    assert main(["convert", "mslesseg", str(toy.source), "-d", "8", "-np", "2"]) == 0
    one, two = (tree_hash(tmp_path / "raw" / f"Dataset00{number}_MSLesSeg") for number in (7, 8))
    differing = {name for name in one if one[name] != two[name]}
    assert one.keys() == two.keys() and differing == {"dataset.json"}, "they differ in their own name alone"
