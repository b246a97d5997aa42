"""`ser-nnunet convert`: what is printed where, the exit status, and what an interrupt leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ser_nnunet.cli import main
from tests.background_jobs import stop_ignoring_interrupts
from tests.dataset_conversion.builders import LABEL, SampleDataset, msd_prostate, mslesseg, promise12
from tests.dataset_conversion.helpers import hash_tree
from tests.dataset_conversion.volumes import image_of


@pytest.fixture
def sample(tmp_path: Path, monkeypatch) -> SampleDataset:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    return mslesseg(tmp_path / "source")


def run_command(sample: SampleDataset, *more: str) -> int:
    return main(["convert", "mslesseg", str(sample.source), "-d", "7", "-np", "1", *more])


def test_the_summary_names_what_was_written_and_the_next_command(sample: SampleDataset, tmp_path: Path, capsys):
    assert run_command(sample) == 0
    printed = capsys.readouterr().out
    assert "Dataset007_MSLesSeg: 7 training cases of 6 patients, 2 test cases (2 with a label)" in printed
    assert "nnUNetv2_plan_and_preprocess -d 7" in printed and "10.1038/s41597-025-05250-y" in printed
    assert (tmp_path / "raw" / "Dataset007_MSLesSeg" / "dataset.json").exists()


def test_dry_run_prints_the_table_and_writes_nothing(sample: SampleDataset, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.delenv("nnUNet_raw")
    assert run_command(sample, "--dry-run") == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("P54"))
    assert row.split()[:3] == ["P54", "P54", "test"]
    assert "P54/P54_FLAIR.nii.gz" in row and "P54/P54_MASK.nii.gz" in row
    assert not (tmp_path / "raw").exists()


def test_dry_run_of_a_faulty_data_set_prints_table_and_problems(sample: SampleDataset, capsys):
    sample.files["P2_T1", LABEL].unlink()
    assert run_command(sample, "--dry-run") == 2
    printed = capsys.readouterr()
    assert "P10_T1" in printed.out
    assert "1 problem, nothing was written" in printed.err and "P2_T1: " in printed.err


def test_without_nnunet_raw_the_error_explains_how_to_set_it(sample: SampleDataset, capsys, monkeypatch):
    monkeypatch.delenv("nnUNet_raw")
    assert run_command(sample) == 2
    assert "export nnUNet_raw=" in capsys.readouterr().err


def test_a_shortfall_names_the_flag_that_accepts_it(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    sample = msd_prostate(tmp_path / "source")
    sample.files["prostate_290", "image"].unlink()
    command = ["convert", "msd", str(sample.source), "-d", "5", "-np", "1"]
    assert main(command) == 2
    assert "--allow-partial" in capsys.readouterr().err
    assert main([*command, "--allow-partial"]) == 0


def test_the_help_explains_when_allow_partial_is_needed(capsys):
    with pytest.raises(SystemExit):
        main(["convert", "mslesseg", "--help"])
    assert "not needed for a sample (at most a tenth of the cases)" in " ".join(capsys.readouterr().out.split())


def test_excluding_a_case_that_does_not_exist_is_an_error(sample: SampleDataset, capsys):
    assert run_command(sample, "--exclude", "P99_T1") == 2
    assert "P99_T1: there is no such case" in capsys.readouterr().err


@pytest.mark.slow
def test_several_processes_write_what_one_writes(sample: SampleDataset, tmp_path: Path):
    assert run_command(sample) == 0
    assert main(["convert", "mslesseg", str(sample.source), "-d", "8", "-np", "2"]) == 0
    one, two = (hash_tree(tmp_path / "raw" / f"Dataset00{number}_MSLesSeg") for number in (7, 8))
    differing = {name for name in one if one[name] != two[name]}
    assert one.keys() == two.keys() and differing == {"dataset.json"}, "they differ in their own name alone"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_closed_terminal_is_an_interrupt_unless_the_signal_is_ignored():
    program = """
import signal
from ser_nnunet.utils.termination import interrupt_on_termination

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
for number in (signal.SIGTERM, signal.SIGHUP):
    try:
        with interrupt_on_termination():
            signal.raise_signal(number)
    except KeyboardInterrupt:
        print(signal.Signals(number).name)
assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with interrupt_on_termination():
    signal.raise_signal(signal.SIGHUP)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["SIGTERM", "SIGHUP"]


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_cleans_up(tmp_path: Path, sent: int):
    sample = promise12(tmp_path / "source")
    for case in sample.cases:
        for role in ("T2", LABEL):
            sample.truth[case, role] = image_of(make_large_array(sample, case, role))
            sample.change(case, role, lambda array: array)
    program = Path(sys.executable).with_name("ser-nnunet")
    command = [program, "convert", "promise12", sample.source, "-d", "701", "-np", "2"]
    environment = {**os.environ, "nnUNet_raw": str(tmp_path / "raw")}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=stop_ignoring_interrupts
    )
    while process.poll() is None and not list(tmp_path.glob("raw/.Dataset701*/imagesTr/*")):
        time.sleep(0.02)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "nothing was left behind" in errors
    assert not (tmp_path / "raw").exists()


def make_large_array(sample: SampleDataset, case: str, role: str) -> np.ndarray:
    """Return a volume that takes long enough to write for a signal to arrive meanwhile."""
    rng = np.random.default_rng(sample.cases.index(case))
    array = rng.integers(0, 2 if role == LABEL else 900, (50, 150, 150))
    return array.astype(np.int16)
