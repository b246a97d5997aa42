"""Whatever goes wrong, a command ends with a sentence and an exit status, and its processes end with it."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ser_nnunet.cli import main
from ser_nnunet.commands import env
from ser_nnunet.utils.processes import is_running
from tests.background_jobs import stop_ignoring_interrupts

FAULTS = [
    (OSError(errno.ENOSPC, "No space left on device", "/out/a.csv"), 2, "/out/a.csv: the disk is full"),
    (PermissionError(errno.EACCES, "Permission denied", "/out"), 2, "/out: Permission denied"),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 2, "no text in UTF-8"),
    (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
    (MemoryError(), 2, "memory ran out: use fewer processes"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (KeyError("nobody"), 70, "unexpected KeyError in test_faults.py, line"),
]


@pytest.fixture
def failing(monkeypatch):
    """Let `ser-nnunet env` end with an exception."""

    def fail_with(error):
        def run(args):
            raise error

        monkeypatch.setattr(env, "run", run)

    return fail_with


@pytest.mark.parametrize(("error", "status", "message"), FAULTS, ids=lambda value: type(value).__name__)
def test_an_exception_becomes_one_line_without_a_traceback(failing, capsys, monkeypatch, error, status, message):
    monkeypatch.delenv("SER_DEBUG", raising=False)
    failing(error)
    assert main(["env"]) == status
    shown = capsys.readouterr().err
    assert shown.startswith("ser-nnunet env: ") and message in shown and shown.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--debug", "env"], ["env", "--debug"]])
def test_debug_shows_the_traceback_too(failing, capsys, arguments):
    failing(KeyError("nobody"))
    assert main(arguments) == 70
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "raise error" in shown and "please open an issue" in shown


@pytest.mark.parametrize(("value", "is_shown"), [("1", True), ("0", False), ("", False)])
def test_so_does_the_environment_variable(failing, capsys, monkeypatch, value, is_shown):
    monkeypatch.setenv("SER_DEBUG", value)
    failing(KeyError("nobody"))
    main(["env"])
    assert ("Traceback" in capsys.readouterr().err) == is_shown


def test_control_codes_and_undecodable_bytes_in_a_message_reach_no_terminal(failing, capsys):
    failing(OSError(errno.ENOENT, "No such file", "a\x1b[2Jb\udcff"))
    assert main(["env"]) == 2
    assert "a\\x1b[2Jb\\udcff: No such file" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="a pipe of a POSIX shell")
def test_a_reader_that_closes_the_pipe_ends_a_command_quietly():
    command = f"{sys.executable} -m ser_nnunet.cli env | true"
    shown = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert shown.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["-np", "0"],
        ["-np", "100000"],
        ["-np", "two"],
        ["--seed", "-1"],
        ["--bootstrap", "100000000"],
        ["--bootstrap", "9" * 5000],
        ["--strata", "1"],
        ["--min-overlap", "nan"],
        ["--min-lesion-voxels", "-5"],
    ],
)
def test_numbers_outside_their_limits_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "-ref", "a", "-pred", "b", "-o", "c", *arguments])
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err


WORK = """
import sys, time, os
from pathlib import Path
from ser_nnunet import cli
from ser_nnunet.commands import env
from ser_nnunet.utils.processes import map_in_processes

def task(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)

def run(args):
    map_in_processes(task, [sys.argv[1]] * 2, 2, "working", progress=False)

if __name__ == "__main__":
    env.run = run
    sys.exit(cli.main(["env"]))
"""


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 130), ("SIGINT", 130), ("SIGKILL", -9)])
def test_worker_processes_end_at_once_with_the_command_however_it_is_ended(tmp_path, number, status):
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "pids").mkdir()
    command = [sys.executable, str(tmp_path / "work.py"), str(tmp_path / "pids")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(command, env=environment, preexec_fn=stop_ignoring_interrupts) as parent:
        try:
            assert wait_for(lambda: len(list((tmp_path / "pids").iterdir())) == 2)
            workers = [int(file.name) for file in (tmp_path / "pids").iterdir()]
            parent.send_signal(getattr(signal, number))
            assert parent.wait(20) == status
        finally:
            parent.kill()
    assert wait_for(lambda: not any(map(is_running, workers)), 10)
