"""`kill -9` just before a command puts a file in its place; `tests/kill_commands.py` kills every command at random."""

import os
import signal
from pathlib import Path

import pandas as pd
import pytest

from ser_nnunet.benchmark.tables import write_results
from ser_nnunet.demo.workspace import Workspace
from ser_nnunet.utils.files import UNFINISHED
from tests.benchmark.tiny_dataset import read_files

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX processes"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


def kill_before(call, monkeypatch, work):
    """Run `work` in a copy of this process, which is killed as it renames a file for the `call`-th time."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left, replace = [call], Path.replace

    def rename(self, target):
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return replace(self, target)

    signal.alarm(60)
    monkeypatch.setattr(Path, "replace", rename)
    try:
        work()
    finally:
        os._exit(0)


def test_a_benchmark_that_was_killed_while_it_wrote_its_tables_writes_both_again(tmp_path, monkeypatch):
    def write(folder="out"):
        table = pd.DataFrame({"system": ["nnU-Net", "SERNet light"], "parameters": [20, 2]})
        return write_results(
            tmp_path / folder, "size", table, [("Sizes", table)], ["a note"], {"command": "-", "date": "-"}
        )

    for call, left in enumerate([[f"{UNFINISHED}size.csv"], [f"{UNFINISHED}size.md", "size.csv"]]):
        assert kill_before(call, monkeypatch, write) == -signal.SIGKILL
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == left
    write()
    write("undisturbed")
    assert read_files(tmp_path / "out").keys() == read_files(tmp_path / "undisturbed").keys()
    assert (tmp_path / "out" / "size.csv").read_bytes() == (tmp_path / "undisturbed" / "size.csv").read_bytes()


def test_a_demo_that_was_killed_is_begun_anew(tmp_path):
    """What a killed demo leaves: half-written data sets, logs, a lock that nobody holds."""
    workspace, undisturbed = Workspace(tmp_path / "demo"), Workspace(tmp_path / "undisturbed")
    child = os.fork()
    if not child:
        workspace.claim()
        with workspace.lock():
            workspace.prepare()
            for folder in (workspace.raw_dataset / "imagesTr", workspace.predictions):
                folder.mkdir(parents=True)
                (folder / "P1.nii.gz").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    for each in (workspace, undisturbed):
        each.claim()
        with each.lock():
            each.prepare()
    assert read_files(workspace.folder).keys() == read_files(undisturbed.folder).keys()
