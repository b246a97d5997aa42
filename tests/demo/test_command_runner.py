"""Users see what runs; a failure names the step and the log."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ser_nnunet.demo.command_runner import StepRunner, find_executable, run_logged
from ser_nnunet.errors import UserError
from ser_nnunet.utils.processes import is_running


def test_a_command_is_shown_its_output_streamed_and_logged(tmp_path, capsys):
    runner = StepRunner(tmp_path, total=2)
    runner.run_command(
        "say hello", [sys.executable, "-c", "import os; print(os.environ['WHO'], 'été')"], {"WHO": "you"}
    )
    shown = capsys.readouterr().out
    assert "=== 1 of 2: say hello" in shown
    assert f"$ {sys.executable} -c " in shown
    assert shown.endswith("you été\n")
    (log,) = tmp_path.iterdir()
    assert log.read_text(encoding="utf-8") == "you été\n"
    assert [title for title, _ in runner.times] == ["say hello"]


def test_a_failure_names_the_step_the_log_and_the_last_lines(tmp_path):
    script = "import sys; print('\\n'.join(map(str, range(100)))); print('out of memory', file=sys.stderr); sys.exit(3)"
    with pytest.raises(UserError) as caught:
        StepRunner(tmp_path, total=1).run_command("train", [sys.executable, "-c", script], {})
    (log,) = tmp_path.iterdir()
    message = str(caught.value)
    assert '"train"' in message and "status 3" in message and str(log) in message
    assert "out of memory" in message and "    99" in message and "    50\n" not in message


def test_a_command_that_is_not_installed_is_named():
    with pytest.raises(UserError, match="nnUNetv2_no_such_command was not found"):
        find_executable("nnUNetv2_no_such_command")


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX process groups")
def test_an_interrupted_command_ends_with_the_processes_that_it_started(tmp_path, monkeypatch):
    read, log = os.read, tmp_path / "log.txt"

    def interrupt(descriptor, size):
        if log.stat().st_size:
            raise KeyboardInterrupt
        chunk = read(descriptor, size)
        return chunk

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr("ser_nnunet.demo.command_runner.os.read", interrupt)
        log.touch()
        patch.setattr(Path, "open", unbuffered(Path.open))
        run_logged([sys.executable, "-u", "-c", PARENT], {}, log)
    grandchild = int(log.read_text())
    end = time.monotonic() + 10
    while is_running(grandchild) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_running(grandchild)


RUNNER = """
import sys
from pathlib import Path
from ser_nnunet.demo.command_runner import run_logged
run_logged([sys.executable, "-u", "-c", sys.argv[1]], {}, Path(sys.argv[2]))
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX process groups")
def test_a_command_ends_with_the_processes_that_it_started_after_a_kill(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, PARENT, str(tmp_path / "log.txt")], stdout=subprocess.PIPE, text=True
    ) as runner:
        grandchild = int(runner.stdout.readline())
        runner.kill()
    end = time.monotonic() + 10
    while is_running(grandchild) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_running(grandchild)


def unbuffered(original):
    """Open binary files without a buffer, so that the log's size tells what was written."""

    def open_file(self, mode="r", **options):
        return original(self, mode, **({"buffering": 0} if mode == "wb" else options))

    return open_file
