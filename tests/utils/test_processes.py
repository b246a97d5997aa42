"""As many processes as cores, and no more than memory holds."""

import os

import pytest

from ser_nnunet.utils import processes as parallel


@pytest.mark.parametrize(
    ("gib", "processes"),
    [(64, 16), (5.9, 5), (0.2, 1), (None, 16)],  # 1 GiB a process; at least one; unknown memory bounds nothing
)
def test_processes_fit_cores_and_memory(monkeypatch, gib, processes):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(parallel, "available_memory", lambda: None if gib is None else int(gib * 2**30))
    assert parallel.fitting_processes(2**30) == processes
