"""What the demo checks before it starts and what it writes; the whole pipeline is run by `make demo`."""

import json

import pytest

from ser_nnunet.cli import main
from ser_nnunet.demo.command_runner import StepRunner
from ser_nnunet.demo.demo_pipeline import mark_as_simulated, print_summary
from ser_nnunet.demo.workspace import Workspace


def test_a_folder_with_other_files_ends_the_demo_before_it_begins(tmp_path, capsys):
    pytest.importorskip("nilearn")
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["demo", "--folder", str(tmp_path)]) == 2
    assert "not made by an earlier demo" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_converted_phantom_cannot_be_mistaken_for_mslesseg(tmp_path):
    file = tmp_path / "dataset.json"
    content = {"labels": {"lesion": 1}, "licence": "CC BY 4.0", "citation": "Guarnera", "description": "MSLesSeg"}
    file.write_text(json.dumps(content))
    mark_as_simulated(file)
    after = json.loads(file.read_text())
    assert after["labels"] == {"lesion": 1}
    assert after["description"].startswith("SIMULATED")
    assert "citation" not in after and "CC BY" not in after["licence"]


@pytest.mark.parametrize(("dice", "verdict"), [(0.75, "0.75 (it learned)"), (0.1, "0.10 (it should be above 0.4")])
def test_the_summary_states_the_dice_and_whether_the_training_learned(tmp_path, capsys, dice, verdict):
    runner = StepRunner(tmp_path, total=1, times=[("train", 90.0)])
    print_summary(runner, Workspace(tmp_path), dice)
    output = capsys.readouterr().out
    assert f"Lesion Dice of the test patients: {verdict}" in output
    assert "Done in 1.5 minutes" in output and str(tmp_path / "demo.png") in output
