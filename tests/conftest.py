"""Fixtures that every test may use, and the order of the files."""

import os
from collections import Counter
from pathlib import Path

import pytest

# Tests run in two processes (Makefile) and start others: with a thread per core in each, threads that wait for a busy
# core would make a step several times slower. Set before torch is imported; child processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several processes, put the files with the most slow tests first: none waits long for the other's last."""
    if not hasattr(config, "workerinput"):
        return
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])  # stable: the order within a file stays


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images (`SER_TEST_DATA`, or shared/data beside the checkout); skips where it is absent."""
    folder = Path(os.environ.get("SER_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real images: {folder} is absent (set SER_TEST_DATA to their folder)")
    return folder
