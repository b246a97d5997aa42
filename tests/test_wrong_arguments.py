"""Wrong arguments are answered before anything that takes seconds to import: torch, nnU-Net, matplotlib, nilearn."""

import json
import subprocess
import sys

from ser_nnunet.cli import COMMANDS
from tests.commands.test_evaluate import cohort  # noqa: F401 (a fixture)

SLOW = ("torch", "nnunetv2", "matplotlib", "nilearn", "monai", "segment_anything")
CALL = """
import contextlib, io, json, sys
from ser_nnunet.cli import main
results = []
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as stop:
            status = stop.code
    results.append([status, err.getvalue(), [name for name in SLOW if name in sys.modules]])
print(json.dumps(results))
"""
WRONG = {
    "evaluate -ref /nope -pred /nope -o out": "no such folder: /nope, /nope",
    "report /nope": "/nope/evaluation.json: a result of `ser-nnunet evaluate`",
    "export /nope -o model.pyz": "/nope: no such folder",
    "predict -i /nope -o out -m /nope.pyz": "/nope.pyz: no such file",
    "check-model /nope": "/nope: a model's folder or zip expected",
    "convert msd /nope -d 5": "/nope",
    "demo --patients 0": "patients",
    "benchmark size -d 999": "data set 999: one folder Dataset999_* expected",
    "benchmark speed -d 999": "data set 999",
    "benchmark accuracy -d 999 -tr SERTrainerNoSAM --epochs 1": "data set 999",
    "benchmark proxy-sam -d 999": "data set 999",
    "benchmark size -plans /nope.json": "no such file or folder: /nope.json",
    "benchmark predict -i /nope -m /nope.pyz --folders /nope": "no such file or folder: /nope, /nope.pyz, /nope",
}


def call(commands, monkeypatch, tmp_path):
    """Run commands one after the other in one new process; return status, stderr and the slow modules so far."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    code = f"SLOW = {SLOW}\n{CALL}"
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(commands), capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_slow_is_imported_for_wrong_arguments_nor_for_help(monkeypatch, tmp_path):
    commands = [[name, "--help"] for name in COMMANDS] + [command.split() for command in WRONG]
    results = call(commands, monkeypatch, tmp_path)
    expected = [(0, "")] * len(COMMANDS) + [(2, message) for message in WRONG.values()]
    for command, (status, shown, slow), (code, message) in zip(commands, results, expected, strict=True):
        assert (status, slow) == (code, []), (command, shown)
        assert message in shown, command


def test_a_forgotten_chill_is_answered_before_any_image_is_read(cohort, monkeypatch, tmp_path):  # noqa: F811
    for number in range(1, 4):
        (cohort / "pred0" / f"case{number}.nii.gz").unlink()
    (cohort / "pred0" / "case0.nii.gz").write_bytes(b"no image")
    command = ["evaluate", "-ref", str(cohort / "labelsTr"), "-pred", str(cohort / "pred0"), "-o", "out"]
    ((status, shown, slow),) = call([command], monkeypatch, tmp_path)
    assert status == 2 and "case1, case2, case3 (3)" in shown and "--chill" in shown
    assert "cannot be read" not in shown and slow == []
