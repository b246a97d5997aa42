"""nnUNetv2_train ... -tr SERTrainerPaper"""

from ser_nnunet.training.paper import SERTrainerPaper

__all__ = ["SERTrainerPaper"]
