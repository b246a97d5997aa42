"""nnUNetv2_train ... -tr SERTrainerNoSAM"""

from ser_nnunet.training.variants import SERTrainerNoSAM

__all__ = ["SERTrainerNoSAM"]
