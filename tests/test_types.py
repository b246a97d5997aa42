"""The type checker knows nnU-Net's trainer, so that errors in what our trainers inherit don't pass unseen."""

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

SNIPPET = """
from ser_nnunet.training.trainer import SERTrainer

def use(trainer: SERTrainer) -> None:
    trainer.print_to_log_file("inherited from nnUNetTrainer")
    trainer.method_that_does_not_exist()
"""


@pytest.mark.slow
def test_the_base_class_of_our_trainers_is_not_any(tmp_path):
    """Any attribute of a class with a base of type Any would be accepted."""
    file = tmp_path / "snippet.py"
    file.write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--config-file", str(REPOSITORY / "pyproject.toml"), str(file)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if line.startswith(str(file))]
    assert len(errors) == 1, done.stdout + done.stderr
    assert '"SERTrainer" has no attribute "method_that_does_not_exist"' in errors[0]
