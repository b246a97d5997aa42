"""nnUNetv2_train ... -tr SERTrainerSemiNoSAM"""

from ser_nnunet.training.semi_trainer import SERTrainerSemiNoSAM

__all__ = ["SERTrainerSemiNoSAM"]
