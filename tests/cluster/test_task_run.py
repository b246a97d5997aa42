"""Running a task: outcomes, kills, stops, one process at a time, and the limits that a job's cores set."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ser_nnunet.cluster.crossval_settings import Resources
from ser_nnunet.cluster.task_record import Attempt, TaskRecord
from ser_nnunet.cluster.task_run import TaskRun, limits_of, runs_without_progress
from ser_nnunet.cluster.tasks import Task
from ser_nnunet.errors import UserError
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux's processes and signals")
RESOURCES = Resources(0, 2, 60, 1.0)


def task_of(script, key="toy/0", checkpoints=None, predictions=None):
    return Task(key, "toy", "0", ("sh", "-c", script), script, RESOURCES, (), checkpoints, predictions)


@pytest.fixture
def record(tmp_path):
    return TaskRecord(tmp_path / "record")


def run(task, record):
    found = TaskRun(task, record)
    found.start(0)
    return found.wait(0.02)


def test_a_task_that_ends_well_is_done_and_its_output_kept(record):
    assert run(task_of("echo hello"), record) == "done"
    assert record.log.read_text() == "hello\n"
    assert [attempt.outcome for attempt in record.attempts()] == ["done"]


def test_an_exit_status_is_a_failure_with_the_last_lines_of_the_output(record):
    assert run(task_of("echo what went wrong; exit 3"), record) == "failed"
    assert record.attempts()[-1].reason == "exit status 3"
    assert record.tail() == ["what went wrong"]


def test_a_killed_task_is_started_again_and_its_log_goes_on(record, tmp_path):
    script = f"echo run; test -e {tmp_path}/second || {{ touch {tmp_path}/second; kill -9 $$; }}"
    assert run(task_of(script), record) == "done"
    assert record.log.read_text() == "run\nrun\n"
    assert [attempt.outcome for attempt in record.attempts()] == ["killed", "done"]


def test_a_task_that_is_killed_again_and_again_without_a_checkpoint_fails(record):
    assert run(task_of("kill -9 $$"), record) == "failed"
    assert "killed 3 times without coming further" in record.attempts()[-1].reason


def test_kills_with_a_checkpoint_in_between_are_survived(record, tmp_path):
    fold = tmp_path / "fold_0"
    fold.mkdir()
    count = f"echo x >> {tmp_path}/count; touch {fold}/checkpoint_latest.pth"
    script = f"{count}; test $(wc -l < {tmp_path}/count) -ge 6 || kill -9 $$"
    assert run(task_of(script, checkpoints=str(fold)), record) == "done"
    assert len(record.attempts()) == 6 and all(attempt.progressed for attempt in record.attempts())


def test_a_stopped_task_ends_with_all_that_it_has_started(record, tmp_path):
    started = TaskRun(task_of(f"sleep 100 & echo $! > {tmp_path}/worker; wait"), record)
    started.start(0)
    while not (tmp_path / "worker").is_file() or not (tmp_path / "worker").read_text().strip():
        time.sleep(0.02)
    started.stop("the time limit")
    last = record.attempts()[-1]
    assert (started.poll(), last.outcome, last.reason) == ("stopped", "stopped", "the time limit")
    assert_ends(int((tmp_path / "worker").read_text()))


AT_THE_TIME_LIMIT = """
import sys
from pathlib import Path
from ser_nnunet.cluster.slurm_job import TaskJob
from ser_nnunet.cluster.task_run import TaskRun
from ser_nnunet.cluster.task_record import TaskRecord
from tests.cluster.test_task_run import task_of

records = Path(sys.argv[1])
for _ in range(3):
    job = TaskJob(task_of("sleep 100", "predict/x", checkpoints=sys.argv[2] or None), records)
    job._run = TaskRun(job.task, TaskRecord(records / job.task.key), "17_0")
    job._run.start(0)
    print(job.checkpoint() is not None)
"""


@pytest.mark.parametrize("checkpoints", ["", "fold_0"])
def test_the_third_run_in_a_row_that_reaches_the_time_limit_without_progress_has_failed(tmp_path, checkpoints):
    """A prediction that is too long for its limit would begin anew a thousand times. In a process of its own, for
    `checkpoint` changes how signals are handled."""
    pytest.importorskip("submitit", reason="pip install 'ser-nnunet[cluster]'")
    command = [sys.executable, "-c", AT_THE_TIME_LIMIT, str(tmp_path), checkpoints]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=REPOSITORY)
    assert done.stdout.split() == ["True", "True", "False"], done.stderr
    attempts = TaskRecord(tmp_path / "predict/x").attempts()
    assert [attempt.outcome for attempt in attempts] == ["stopped", "stopped", "failed"]
    assert "a longer --time is needed" in attempts[-1].reason


STOPPED_BY_A_SIGNAL = """
import os, signal, sys
from pathlib import Path
from ser_nnunet.cluster.task_record import TaskRecord
from ser_nnunet.cluster.task_run import TaskRun
from tests.cluster.test_task_run import task_of

started = TaskRun(task_of("sleep 100"), TaskRecord(Path(sys.argv[1])))
started.start(0)
signal.signal(signal.SIGUSR1, lambda *_: started.stop("signal"))
os.kill(os.getpid(), signal.SIGUSR1)
print(started.wait(0.02))
"""


def test_a_stop_from_a_signal_handler_does_not_hang(tmp_path):
    """In a process of its own: a signal must not reach the one that runs the other tests."""
    command = [sys.executable, "-c", STOPPED_BY_A_SIGNAL, str(tmp_path / "record")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=REPOSITORY)
    assert done.stdout == "stopped\n", done.stderr


def test_one_process_at_a_time_runs_a_task(record):
    first = TaskRun(task_of("sleep 100"), record)
    first.start(0)
    try:
        with pytest.raises(UserError, match=r"toy/0 is running already \(process"):
            TaskRun(task_of("echo twice"), record).start(0)
    finally:
        first.stop("test")
    assert run(task_of("echo after"), record) == "done"


def test_an_attempt_without_an_end_was_killed(record):
    record.begin_attempt("17_3")
    record.begin_attempt("17_3")
    assert [attempt.outcome for attempt in record.attempts()] == ["killed", ""]


def test_only_the_last_runs_in_a_row_without_a_checkpoint_count():
    def attempts(*outcomes):
        return [Attempt(0.0, "", 1, outcome=outcome, progressed=progressed) for outcome, progressed in outcomes]

    assert runs_without_progress(attempts(("killed", False), ("stopped", True), ("stopped", False))) == 1
    assert runs_without_progress(attempts(("failed", False))) == 0


def test_cores_come_from_the_job_and_checkpoints_from_its_time_limit():
    day = limits_of(Task("a", "a", "a", (), "", Resources(1, 12, 24 * 60, 1.0)))
    assert day["nnUNet_n_proc_DA"] == "11" and day["OMP_NUM_THREADS"] == "1" and day["SER_CHECKPOINT_SECONDS"] == "600"
    short = limits_of(Task("a", "a", "a", (), "", Resources(0, 1, 10, 1.0)))
    assert short["nnUNet_n_proc_DA"] == "0" and short["SER_CHECKPOINT_SECONDS"] == "12"


CHILD = """
import time
from ser_nnunet.cluster.child_process import end_with_parent
end_with_parent()
print("watching", flush=True)
time.sleep(60)
"""
SUPERVISOR = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, start_new_session=True)
print(child.stdout.readline().decode().strip(), child.pid, flush=True)
child.wait()
"""


def test_a_training_whose_supervisor_was_killed_ends(tmp_path):
    command = [sys.executable, "-c", SUPERVISOR, CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        word, child = supervisor.stdout.readline().split()
        supervisor.kill()
    assert word == "watching"
    assert_ends(int(child))


def assert_ends(process):
    """Wait until a process has ended; one that its new parent hasn't collected yet has."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    os.kill(process, signal.SIGKILL)
    pytest.fail("the process still runs")
