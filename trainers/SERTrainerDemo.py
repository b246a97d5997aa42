"""nnUNetv2_train ... -tr SERTrainerDemo"""

from ser_nnunet.training.variants import SERTrainerDemo

__all__ = ["SERTrainerDemo"]
