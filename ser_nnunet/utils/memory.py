"""How much memory this process may still take: the machine's, or its container's or job's if that is less."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def available_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes available without swapping, or None if the system does not report them.

    On Linux this is MemAvailable, which counts the page cache that the kernel would give back, bounded by what is
    left of every control group (version 2) around the process.

    Args:
        root: of the file system that holds `proc` and `sys`.
    """
    free = [_machine(root / "proc" / "meminfo"), *map(_left_of_group, _groups(root))]
    return min((amount for amount in free if amount is not None), default=None)


def process_tree_memory(process: int, root: Path = Path("/")) -> int:
    """Return the bytes that a process and all its descendants hold in memory; 0 where the system does not report them.

    Linux's proportional set size: memory that processes share is counted once.

    Args:
        process: its id.
        root: of the file system that holds `proc`.
    """
    parents: dict[int, list[int]] = {}
    for status in (root / "proc").glob("[0-9]*/stat"):
        fields = _text(status).rpartition(")")[2].split()  # behind the name, which may hold spaces
        if len(fields) > 1:
            parents.setdefault(int(fields[1]), []).append(int(status.parent.name))
    total, waiting = 0, [process]
    while waiting:
        each = waiting.pop()
        waiting += parents.get(each, [])
        total += _fields(root / "proc" / str(each) / "smaps_rollup").get("Pss:", 0) * 1024
    return total


def _machine(meminfo: Path) -> int | None:
    available = _fields(meminfo).get("MemAvailable:")
    if available is not None:
        return available * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not known on this system
        return None


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folder of this process's control group and those above it: any of them may set a limit."""
    top = root / "sys" / "fs" / "cgroup"
    lines = _text(root / "proc" / "self" / "cgroup").splitlines()
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    parts = [] if ".." in own else [part for part in own.split("/") if part]  # `..` is outside what can be seen
    for depth in range(len(parts), -1, -1):
        yield top.joinpath(*parts[:depth])


def _left_of_group(group: Path) -> int | None:
    limit, used = _text(group / "memory.max").strip(), _text(group / "memory.current").strip()
    if not limit.isdigit() or not used.isdigit():  # "max", or no such file
        return None
    cache = _fields(group / "memory.stat").get("inactive_file", 0)  # counted as used, but given back when asked for
    return max(0, int(limit) - max(0, int(used) - cache))


def _fields(file: Path) -> dict[str, int]:
    """Return the first number of every line `name number ...`."""
    rows = (line.split() for line in _text(file).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
