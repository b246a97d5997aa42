"""One task per case in several processes: how many fit, results in order, errors and killed workers."""

import os
import signal
import subprocess
import sys

import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.utils import processes as parallel
from ser_nnunet.utils.processes import is_running, map_in_processes


@pytest.mark.parametrize(
    ("gib", "processes"),
    [(64, 16), (5.9, 5), (0.2, 1), (None, 16)],  # 1 GiB a process; at least one; unknown memory bounds nothing
)
def test_processes_fit_cores_and_memory(monkeypatch, gib, processes):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(parallel, "available_memory", lambda: None if gib is None else int(gib * 2**30))
    assert parallel.fitting_processes(2**30) == processes


def square_and_identify(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def fail_at_two(number: int) -> int:
    if number == 2:
        raise ValueError("2 is not possible")
    return number


def kill_own_process(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def read_variable(number: int) -> str | None:
    return os.environ.get("PREPARED")


def set_variable() -> None:
    os.environ["PREPARED"] = "yes"


def test_results_are_in_the_order_of_the_items_and_from_other_processes():
    results = map_in_processes(square_and_identify, range(5), 2, "squaring", progress=False)
    assert [square for square, _ in results] == [0, 1, 4, 9, 16]
    assert os.getpid() not in {process for _, process in results}


@pytest.mark.parametrize(("items", "processes"), [(range(3), 1), (range(1), 4), (range(0), 4)])
def test_one_process_or_item_stays_in_the_callers_process(items, processes):
    results = map_in_processes(square_and_identify, items, processes, "squaring", progress=False)
    assert [square for square, _ in results] == [item**2 for item in items]
    assert {process for _, process in results} <= {os.getpid()}


@pytest.mark.parametrize("processes", [1, 2])
def test_an_exception_of_a_task_reaches_the_caller(processes):
    with pytest.raises(ValueError, match="2 is not possible"):
        map_in_processes(fail_at_two, range(4), processes, "failing", progress=False)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_process_is_a_user_error_that_names_the_step_and_a_remedy():
    with pytest.raises(UserError, match=r"checking: a process was killed, .* use fewer processes \(-np 1\)"):
        map_in_processes(kill_own_process, range(2), 2, "checking", progress=False)


def test_workers_are_prepared_and_the_callers_process_is_not():
    found = map_in_processes(read_variable, range(2), 2, "reading", prepare_worker=set_variable, progress=False)
    assert found == ["yes", "yes"] and "PREPARED" not in os.environ


@pytest.mark.parametrize(("progress", "is_shown"), [(True, True), (False, False)])
def test_the_progress_bar_is_shown_unless_switched_off(progress, is_shown, capsys):
    map_in_processes(fail_at_two, [0, 1], 1, "counting", progress=progress)
    assert ("counting: 100%" in capsys.readouterr().err) == is_shown


def test_a_process_that_has_ended_is_not_running():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_running(child.pid) and is_running(os.getpid())
    child.communicate()
    assert os.name == "nt" or not is_running(child.pid)
