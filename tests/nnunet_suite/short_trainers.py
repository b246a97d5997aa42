"""Trainers of some seconds for the suite, as source: nnU-Net imports them from a folder of their own."""

from tests.nnunet_workplace import INTERRUPTIBLE

EPOCHS = 2
NO_SAM = "SuiteNoSAM"
GUIDED = "SuiteGuided"

SOURCE = (
    INTERRUPTIBLE
    + f"""
from ser_nnunet.training.trainer import SERTrainer
from ser_nnunet.training.variants import SERTrainerNoSAM

class Short:
    num_epochs, num_iterations_per_epoch, num_val_iterations_per_epoch = {EPOCHS}, 6, 1
    initial_lr = 1e-2  # so high that these few steps find foreground, without which labels could not be checked

class {NO_SAM}(Interruptible, Short, SERTrainerNoSAM):
    pass

class {GUIDED}(Interruptible, Short, SERTrainer):
    guided_fraction = 0.5
"""
)
