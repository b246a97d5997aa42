"""The memory of a forward pass and of a training step."""

import pytest

from ser_nnunet.benchmark.peak_memory import measure_peak
from ser_nnunet.benchmark.systems import System
from tests.benchmark.tiny_dataset import tiny_configuration, tiny_plans


@pytest.mark.slow
def test_the_forward_peak_holds_the_largest_activations_and_not_the_interpreter():
    plans = tiny_plans(patch=(1024, 1024))
    system = System("U-Net", "nnunet", tiny_configuration(plans))
    peak, training_peak = measure_peak(system), measure_peak(system, training=True)
    activation = 4 * 1024 * 1024 * 4  # bytes of the first stage's four channels
    assert 2 * activation < peak < 20 * activation
    assert training_peak > peak + activation, "activations are kept for the backward pass"
