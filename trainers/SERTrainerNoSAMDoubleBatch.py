"""nnUNetv2_train ... -tr SERTrainerNoSAMDoubleBatch"""

from ser_nnunet.training.variants import SERTrainerNoSAMDoubleBatch

__all__ = ["SERTrainerNoSAMDoubleBatch"]
