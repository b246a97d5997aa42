"""SIGTERM ends processes that are forked from a command at once; the command itself cleans up."""

import multiprocessing
import os
import signal

import pytest

from ser_nnunet.utils.termination import interrupt_on_termination

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no forked processes on this system")


def report_handler(pipe):
    pipe.send(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
    with interrupt_on_termination():  # a worker may be a command itself
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            pipe.send("interrupted")


def test_a_forked_process_has_the_default_effect_and_the_command_its_own():
    """A pool that terminates a worker waits for ever if the worker only notes the signal."""
    receiving, sending = multiprocessing.Pipe(duplex=False)
    before = signal.getsignal(signal.SIGTERM)
    with interrupt_on_termination():
        worker = multiprocessing.get_context("fork").Process(target=report_handler, args=(sending,))
        worker.start()
        worker.join(60)
        assert receiving.recv() is True and receiving.recv() == "interrupted"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
