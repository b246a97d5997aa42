"""Available memory, read from the files of a plain system, a container or a batch job."""

import pytest

from ser_nnunet.utils.memory import available_memory, process_tree_memory

GIB = 2**30


@pytest.fixture
def machine(tmp_path):
    """8 GiB free outright, 64 GiB with the cache that can be given back, no group's limit."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    meminfo = f"MemTotal: {100 * GIB // 1024} kB\nMemFree: {8 * GIB // 1024} kB\nMemAvailable: {64 * GIB // 1024} kB\n"
    (tmp_path / "proc" / "meminfo").write_text(meminfo)
    (tmp_path / "proc" / "self" / "cgroup").write_text("0::/\n")
    return tmp_path


def write_group(machine, group, limit, used, stat=""):
    folder = machine / "sys" / "fs" / "cgroup" / group
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("memory.max", limit), ("memory.current", used), ("memory.stat", stat)):
        (folder / name).write_text(f"{content}\n")


def test_cache_that_can_be_given_back_is_available(machine):
    assert available_memory(machine) == 64 * GIB


def test_a_containers_limit_bounds_what_is_available(machine):
    write_group(machine, "", 10 * GIB, 6 * GIB)
    assert available_memory(machine) == 4 * GIB
    write_group(machine, "", 10 * GIB, 6 * GIB, stat=f"anon {GIB}\ninactive_file {5 * GIB}")
    assert available_memory(machine) == 9 * GIB
    write_group(machine, "", "max", 6 * GIB)
    assert available_memory(machine) == 64 * GIB
    write_group(machine, "", 4 * GIB, 5 * GIB)  # over its limit, as a group whose limit was lowered can be
    assert available_memory(machine) == 0


def test_a_limit_of_any_group_around_the_process_counts(machine):
    (machine / "proc" / "self" / "cgroup").write_text("1:cpu:/other\n0::/job_7/step_0\n")
    write_group(machine, "job_7", 16 * GIB, 2 * GIB)
    write_group(machine, "job_7/step_0", "max", GIB)
    write_group(machine, "other", GIB, 0)  # of version 1, or of another process
    assert available_memory(machine) == 14 * GIB


def test_without_these_files_the_system_is_asked(tmp_path):
    found = available_memory(tmp_path)
    assert found is None or found > 0


def test_the_memory_of_a_process_and_its_descendants_is_added(tmp_path):
    for process, parent, size in ((10, 1, 100), (11, 10, 20), (12, 11, 3), (13, 1, 5000)):
        folder = tmp_path / "proc" / str(process)
        folder.mkdir(parents=True)
        (folder / "stat").write_text(f"{process} (a name (with) spaces) S {parent} 0 0\n")
        (folder / "smaps_rollup").write_text(f"00400000-7ff ---p 0 [rollup]\nRss: 9999 kB\nPss: {size} kB\n")
    assert process_tree_memory(10, tmp_path) == 123 * 1024
    assert process_tree_memory(99, tmp_path) == 0
