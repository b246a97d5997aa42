"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

# Tests run in two processes (Makefile) and start others: with a thread per core in each, threads that wait for a busy
# core would make a step several times slower. Set before torch is imported; child processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images (`SER_TEST_DATA`, or shared/data beside the checkout); skips where it is absent."""
    folder = Path(os.environ.get("SER_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real images: {folder} is absent (set SER_TEST_DATA to their folder)")
    return folder
