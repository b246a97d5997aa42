"""Users see what runs; a failure names the step and the log."""

import sys

import pytest

from ser_nnunet.demo.command_runner import StepRunner, find_executable
from ser_nnunet.errors import UserError


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
