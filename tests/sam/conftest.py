"""Toy SAMs of segment_anything's own modules."""

import pytest
import torch

from ser_nnunet.sam.dummy_sam import build_dummy_sam


@pytest.fixture(scope="session")
def dummy_sam():
    """A SAM of toy size whose random prompt and position embeddings are large enough to matter."""
    return build_dummy_sam(seed=3, image_size=128)


@pytest.fixture
def dummy_checkpoint(dummy_sam, tmp_path):
    """The toy SAM saved as official checkpoints are: a bare state dict."""
    path = tmp_path / "toy.pth"
    torch.save(dummy_sam.state_dict(), path)
    return path
