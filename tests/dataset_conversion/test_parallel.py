"""How many cases are worked on at once: as many as cores and memory allow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ser_nnunet.dataset_conversion import parallel

GIB = 2**30


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch) -> Path:
    """A machine of 16 cores and 64 GiB; the process is in the group `job/step`, and no group has a limit yet."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    pages = {"SC_AVPHYS_PAGES": 64 * GIB // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    (tmp_path / "cgroup" / "job" / "step").mkdir(parents=True)
    (tmp_path / "own").write_text("1:name=systemd:/elsewhere\n0::/job/step\n")
    monkeypatch.setattr(parallel, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(parallel, "OWN_CGROUP", tmp_path / "own")
    return tmp_path / "cgroup"


def limit(group: Path, most: str, used: int) -> None:
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{used}\n")


def test_without_limits_all_cores_are_used(cgroups: Path):
    assert parallel.default_processes() == 16
    limit(cgroups / "job" / "step", "max", 5 * GIB)
    assert parallel.default_processes() == 16


@pytest.mark.parametrize("group", [".", "job", "job/step"])
def test_the_limit_of_every_group_around_counts(cgroups: Path, group: str):
    limit(cgroups / group, str(8 * GIB), 3 * GIB)
    assert parallel.default_processes() == 5


@pytest.mark.parametrize("used", [8 * GIB, 9 * GIB])
def test_one_process_is_left_where_memory_is_used_up(cgroups: Path, used: int):
    limit(cgroups / "job", str(8 * GIB), used)
    assert parallel.default_processes() == 1


def test_files_kept_in_memory_are_no_obstacle(cgroups: Path):
    limit(cgroups / "job", str(8 * GIB), 8 * GIB)
    (cgroups / "job" / "memory.stat").write_text(f"anon {GIB}\ninactive_file {6 * GIB}\nactive_file {GIB}\n")
    assert parallel.default_processes() == 6


def test_the_machine_may_have_less_than_the_limit(cgroups: Path, monkeypatch):
    limit(cgroups / "job", str(8 * GIB), 0)
    monkeypatch.setattr(os, "sysconf", {"SC_AVPHYS_PAGES": 2 * GIB // 4096, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert parallel.default_processes() == 2


@pytest.mark.parametrize("text", ["4:memory:/job/step\n", None])
def test_systems_without_version_2_have_no_such_limit(cgroups: Path, text: str | None):
    limit(cgroups / "job", str(8 * GIB), 3 * GIB)
    own = parallel.OWN_CGROUP
    own.unlink() if text is None else own.write_text(text)
    assert parallel.default_processes() == 16
