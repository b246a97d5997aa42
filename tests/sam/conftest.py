"""A dummy SAM and its checkpoint."""

import pytest
import torch

from ser_nnunet.sam.dummy_sam import build_dummy_sam


@pytest.fixture(scope="session")
def dummy_sam():
    """A dummy SAM of 128 pixels; tests must not change its weights."""
    return build_dummy_sam(seed=3, image_size=128)


@pytest.fixture
def dummy_checkpoint(dummy_sam, tmp_path):
    """The dummy SAM saved as official checkpoints are: a bare state dict."""
    path = tmp_path / "dummy_sam.pth"
    torch.save(dummy_sam.state_dict(), path)
    return path
