"""nnUNetv2_train ... -tr SERTrainerCached"""

from ser_nnunet.training.cached_trainer import SERTrainerCached

__all__ = ["SERTrainerCached"]
