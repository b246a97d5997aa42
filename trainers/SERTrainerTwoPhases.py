"""nnUNetv2_train ... -tr SERTrainerTwoPhases"""

from ser_nnunet.training.variants import SERTrainerTwoPhases

__all__ = ["SERTrainerTwoPhases"]
