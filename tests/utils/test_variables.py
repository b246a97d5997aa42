"""Environment variables are set for a block and restored after it."""

import os

import pytest

from ser_nnunet.utils.variables import HARDNET_CHECKPOINT, SAM_CHECKPOINT, TEACHER, environment


def test_the_documented_names():
    """README and docs/training.md name them; renaming one would silently drop a user's setting."""
    names = (SAM_CHECKPOINT, HARDNET_CHECKPOINT, TEACHER)
    assert names == ("SER_SAM_CHECKPOINT", "SER_HARDNET_CHECKPOINT", "SER_TEACHER")


@pytest.mark.parametrize("error", [None, ValueError])
def test_variables_are_restored_even_after_an_error(monkeypatch, error):
    monkeypatch.setenv(SAM_CHECKPOINT, "before.pth")
    monkeypatch.delenv(HARDNET_CHECKPOINT, raising=False)
    try:
        with environment({SAM_CHECKPOINT: "sam.pth", HARDNET_CHECKPOINT: "hardnet.pth"}):
            assert (os.environ[SAM_CHECKPOINT], os.environ[HARDNET_CHECKPOINT]) == ("sam.pth", "hardnet.pth")
            if error:
                raise error
    except ValueError:
        pass
    assert os.environ[SAM_CHECKPOINT] == "before.pth" and HARDNET_CHECKPOINT not in os.environ
