"""The queue of one machine: order, one task per slot, failures, interruptions."""

import os
import time

import pytest

from ser_nnunet.cluster.crossval_settings import Resources
from ser_nnunet.cluster.local_engine import find_slots, run_queue
from ser_nnunet.cluster.task_record import TaskRecord
from ser_nnunet.cluster.tasks import Task
from ser_nnunet.errors import UserError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX shell")


def tasks_of(**scripts):
    """Tasks by name, each a script, or a script and the names that it needs."""
    found = {}
    for name, (script, *needs) in scripts.items():
        command = ("sh", "-c", script)
        found[name] = Task(name, name, name, command, script, Resources(0, 1, 1, 1.0), needs=tuple(needs))
    return found


def attempt(folder, key):
    return TaskRecord(folder / key).attempts()[-1]


def test_tasks_come_after_those_that_they_need_and_one_at_a_time(tmp_path):
    out = tmp_path / "out"
    tasks = tasks_of(best=(f"echo best >> {out}", "a", "b"), a=(f"echo a >> {out}",), b=(f"echo b >> {out}",))
    outcomes = run_queue(tasks, tmp_path / "tasks", [""], lambda line: None, poll=0.02)
    assert outcomes == dict.fromkeys("ab", "done") | {"best": "done"}
    assert out.read_text().split() == ["a", "b", "best"]
    assert attempt(tmp_path / "tasks", "a").ended <= attempt(tmp_path / "tasks", "b").started


def test_every_gpu_has_one_task_at_a_time(tmp_path):
    names = [f"t{index}" for index in range(4)]
    script = f"echo $CUDA_VISIBLE_DEVICES >> {tmp_path}/gpus; sleep 0.3"
    run_queue(tasks_of(**dict.fromkeys(names, (script,))), tmp_path / "tasks", ["0", "2"], print, poll=0.02)
    spans = [(each.started, each.ended) for each in (attempt(tmp_path / "tasks", name) for name in names)]
    together = max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans)
    assert together == 2
    assert sorted((tmp_path / "gpus").read_text().split()) == ["0", "0", "2", "2"]


def test_a_failed_task_stops_no_others_and_what_needs_it_is_named(tmp_path):
    lines = []
    tasks = tasks_of(a=("exit 1",), b=("true",), best=("true", "a", "b"), report=("true", "best"))
    outcomes = run_queue(tasks, tmp_path, [""], lines.append, poll=0.02)
    assert outcomes == {"a": "failed", "b": "done"}
    assert "best was not run: it needs a" in lines and "report was not run: it needs a" in lines


def test_an_interruption_stops_the_running_task_and_leaves_the_rest(tmp_path):
    def interrupt(line):
        if "b: started" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_queue(tasks_of(a=("true",), b=("sleep 60",), c=("true",)), tmp_path, [""], interrupt, poll=0.02)
    assert attempt(tmp_path, "b").outcome == "stopped" and attempt(tmp_path, "b").ended <= time.time()
    assert TaskRecord(tmp_path / "c").attempts() == []


def test_slots_follow_the_visible_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3,5")
    assert find_slots("cuda", 1) == ["1", "3", "5"]
    assert find_slots("cuda", 2) == ["1,3"]
    assert find_slots("cpu", 1) == [""]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match=r"0 GPUs found, 1 needed.*-device cpu"):
        find_slots("cuda", 1)
