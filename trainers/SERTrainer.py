"""nnUNetv2_train ... -tr SERTrainer"""

from ser_nnunet.training.trainer import SERTrainer

__all__ = ["SERTrainer"]
