"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images (`SER_TEST_DATA`, or shared/data beside the checkout); skips where it is absent."""
    folder = Path(os.environ.get("SER_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real images: {folder} is absent (set SER_TEST_DATA to their folder)")
    return folder
