"""What `verify` and nnU-Net's own check say about every fault: the second table of docs/fault-table.md.

    python -m tests.verification.fault_table

writes it; `test_raw_faults.py` compares.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from multiprocessing.pool import ThreadPool
from pathlib import Path
from unittest import mock

from ser_nnunet.verification import verify
from tests.conftest import REPOSITORY
from tests.verification.raw_faults import FAULTS, Fault, plant

PAGE = REPOSITORY / "docs" / "fault-table.md"
HEAD = "| fault | `ser-nnunet verify` | `--verify_dataset_integrity` |\n|---|---|---|\n"


def make_row(fault: Fault, folder: Path) -> str:
    """Return a row of the table, after asserting that `verify` reports the fault with its case."""
    result = verify(plant(fault, folder), processes=1, **fault.options)
    found = {(finding.kind, finding.case, finding.severity) for finding in result.findings}
    assert (fault.kind, fault.case, fault.severity) in found, found
    case = f", names {fault.case}" if fault.case else ""
    return f"| {fault.name} | {fault.severity}: {fault.kind}{case} | {run_nnunets_check(folder)} |"


def run_nnunets_check(folder: Path) -> str:
    """Return what nnU-Net's verify_dataset_integrity says; threads replace its processes, which start slowly."""
    from nnunetv2.experiment_planning import verify_dataset_integrity as module

    printed = io.StringIO()
    with (
        mock.patch.object(module.multiprocessing, "get_context", lambda kind: mock.Mock(Pool=ThreadPool)),
        mock.patch("nnunetv2.utilities.utils.Pool", ThreadPool),
        contextlib.redirect_stdout(printed),
    ):
        try:
            module.verify_dataset_integrity(str(folder), 1)
        except Exception:  # nnU-Net asserts, or raises a RuntimeError
            return "error"
    return "warning" if "warning" in printed.getvalue().lower() else "**nothing**"


def main() -> None:
    """Replace the table."""
    rows = []
    for fault in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(make_row(fault, Path(folder) / "Dataset700_Sample"))
    before, _ = PAGE.read_text(encoding="utf-8").split(HEAD)
    PAGE.write_text(before + HEAD + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
