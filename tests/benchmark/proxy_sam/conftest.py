"""An untrained proxy SAM."""

import pytest

from ser_nnunet.benchmark.proxy_sam.training import build_proxy


@pytest.fixture(scope="session")
def small_sam():
    """At 64 pixels, in eval mode."""
    return build_proxy(64, seed=0).eval()
