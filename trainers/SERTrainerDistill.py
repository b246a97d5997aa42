"""nnUNetv2_train ... -tr SERTrainerDistill"""

from ser_nnunet.training.distill_trainer import SERTrainerDistill

__all__ = ["SERTrainerDistill"]
