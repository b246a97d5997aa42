"""The demo's own decisions; the whole way is run by `make demo`."""

import json

import pytest

from ser_nnunet.cli import build_parser, main
from ser_nnunet.commands.demo import _say_simulated


def test_all_impossible_settings_are_told_at_once_before_anything_is_written(tmp_path, capsys):
    wrong = ["--patients", "2", "--test-patients", "0", "--spacing", "9"]
    assert main(["demo", "--folder", str(tmp_path / "demo"), *wrong]) == 2
    message = capsys.readouterr().err
    assert all(option in message for option in ("--patients 2", "--test-patients 0", "--spacing 9"))
    assert not (tmp_path / "demo").exists()


def test_a_foreign_folder_ends_the_demo_before_it_begins(tmp_path, capsys):
    pytest.importorskip("nilearn")
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["demo", "--folder", str(tmp_path)]) == 2
    assert "not made by an earlier demo" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_defaults_are_the_demo_of_the_readme():
    args = build_parser("demo").parse_args(["demo"])
    assert (str(args.folder), args.patients, args.test_patients, args.spacing) == ("ser_nnunet_demo", 12, 4, 2.5)


def test_a_converted_phantom_does_not_pass_for_mslesseg(tmp_path):
    file = tmp_path / "dataset.json"
    content = {"labels": {"lesion": 1}, "licence": "CC BY 4.0", "citation": "Guarnera", "description": "MSLesSeg"}
    file.write_text(json.dumps(content))
    _say_simulated(file)
    after = json.loads(file.read_text())
    assert after["labels"] == {"lesion": 1}
    assert after["description"].startswith("SIMULATED")
    assert "citation" not in after and "CC BY" not in after["licence"]
