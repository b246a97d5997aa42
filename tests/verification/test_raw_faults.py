"""Every fault is reported with its case, and docs/fault-table.md shows it beside what nnU-Net's own check says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_nnunet.verification import verify
from tests.verification.fault_table import HEAD, PAGE, make_row, run_nnunets_check
from tests.verification.raw_faults import FAULTS, Fault
from tests.verification.samples import write_ct, write_mri


@pytest.fixture(autouse=True)
def without_preprocessed(monkeypatch):
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_verify_names_the_fault_and_the_table_shows_what_both_tools_say(fault: Fault, tmp_path: Path):
    lines = PAGE.read_text(encoding="utf-8").split(HEAD)[1].splitlines()
    assert make_row(fault, tmp_path / "Dataset700_Sample") in lines, "python -m tests.verification.fault_table"
    assert len(lines) == len(FAULTS)


@pytest.mark.parametrize("write", [write_mri, write_ct])
def test_a_data_set_without_faults_has_no_findings(write, tmp_path: Path):
    folder = write(tmp_path / "Dataset700_Sample")
    assert verify(folder, processes=1).findings == []
    assert run_nnunets_check(folder) == "**nothing**"
