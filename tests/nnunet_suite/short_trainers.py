"""Trainers of some seconds for the suite, as source: nnU-Net imports them from a folder of their own."""

from tests.nnunet_workplace import INTERRUPTIBLE

EPOCHS = 2
NO_SAM = "SuiteNoSAM"
GUIDED = "SuiteGuided"

SOURCE = (
    INTERRUPTIBLE
    + f"""
import random

import numpy as np
import torch

from ser_nnunet.training.variants import SERTrainerTwoPhases
from ser_nnunet.training.variants import SERTrainerNoSAM

class Short:
    num_epochs, num_iterations_per_epoch, num_val_iterations_per_epoch = {EPOCHS}, 15, 1
    initial_lr = 1e-2  # finds foreground in few steps, without which labels of predictions could not be checked

    def initialize(self):
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        super().initialize()

class {NO_SAM}(Interruptible, Short, SERTrainerNoSAM):
    pass

class {GUIDED}(Interruptible, Short, SERTrainerTwoPhases):
    guided_fraction = 0.5
"""
)
