"""The memory of a forward pass."""

import pytest

from ser_nnunet.benchmark.forward_memory import measure_forward_peak
from ser_nnunet.benchmark.systems import System
from tests.benchmark.tiny_dataset import tiny_configuration, tiny_plans


@pytest.mark.slow
def test_the_forward_peak_holds_the_largest_activations_and_not_the_interpreter():
    plans = tiny_plans(patch=(1024, 1024))
    peak = measure_forward_peak(System("U-Net", "nnunet", tiny_configuration(plans)))
    activation = 4 * 1024 * 1024 * 4  # bytes of the first stage's four channels
    assert 2 * activation < peak < 20 * activation
