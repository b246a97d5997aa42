"""nnUNetv2_train ... -tr SERTrainerImitate"""

from ser_nnunet.training.variants import SERTrainerImitate

__all__ = ["SERTrainerImitate"]
