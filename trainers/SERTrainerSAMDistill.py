"""nnUNetv2_train ... -tr SERTrainerSAMDistill"""

from ser_nnunet.training.variants import SERTrainerSAMDistill

__all__ = ["SERTrainerSAMDistill"]
