"""The type checker passes, sees the package as it is installed, and knows nnU-Net's trainer."""

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.sources import copy_package

WRONG = """
from ser_nnunet.dataset_conversion.core.data_classes import Case
from ser_nnunet.training.trainer import SERTrainer

def call_missing_methods(trainer: SERTrainer, case: Case) -> None:
    trainer.print_to_log_file("inherited from nnUNetTrainer")
    trainer.method_that_does_not_exist()
    case.method_that_does_not_exist()
"""


@pytest.mark.slow
def test_the_only_errors_are_those_of_a_wrong_module(tmp_path):
    """Were nnU-Net's trainer or the converters unknown to the type checker, it would accept any attribute of theirs.

    The package is checked where its folders lie as in a wheel: in a checkout, mypy finds no `ser_nnunet.trainers` and
    no `ser_nnunet.dataset_conversion`.
    """
    copy_package(tmp_path)
    (tmp_path / "ser_nnunet" / "wrong.py").write_text(WRONG)
    command = [sys.executable, "-m", "mypy", "--config-file", str(REPOSITORY / "pyproject.toml"), "-p", "ser_nnunet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(errors) == 2 and all("ser_nnunet/wrong.py" in line for line in errors), done.stdout + done.stderr
    assert '"SERTrainer" has no attribute "method_that_does_not_exist"' in errors[0]
    assert '"Case" has no attribute "method_that_does_not_exist"' in errors[1]
