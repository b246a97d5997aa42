"""nnUNetv2_train ... -tr SERTrainerSemi"""

from ser_nnunet.training.cached_trainer import SERTrainerSemi

__all__ = ["SERTrainerSemi"]
