"""SIGTERM ends processes that are forked from a command at once; the command itself cleans up."""

import os
import subprocess
import sys

import pytest

FORK_WITHIN_A_COMMAND = """
import os, signal
from ser_nnunet.utils.termination import interrupt_on_termination
with interrupt_on_termination():
    child = os.fork()
    if child == 0:
        os._exit(7 if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL else 8)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        print("interrupted")
print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forked processes on this system")
def test_a_forked_process_has_the_default_effect_and_the_command_its_own():
    """A pool that terminates a worker waits for ever if the worker only notes the signal."""
    command = [sys.executable, "-c", FORK_WITHIN_A_COMMAND]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["7", "interrupted", "True"]
