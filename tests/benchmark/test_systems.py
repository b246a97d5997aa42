"""Every system of the tables takes the input that it is counted with."""

import torch

from ser_nnunet.benchmark.benchmark_settings import SAM_SIZES
from ser_nnunet.benchmark.systems import SAM_ARCHITECTURES, list_systems
from tests.benchmark.tiny_dataset import tiny_configuration


def test_every_system_takes_the_input_that_it_is_counted_with():
    planned = tiny_configuration()
    for system in list_systems(planned, sam=False):
        network, shape = system.build(), system.input_shape
        with torch.no_grad():
            assert network(torch.zeros(shape)).shape == (1, 2, 32, 32)


def test_the_command_line_offers_the_sams_that_can_be_built():
    assert tuple(SAM_ARCHITECTURES) == SAM_SIZES
