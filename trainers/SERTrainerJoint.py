"""nnUNetv2_train ... -tr SERTrainerJoint"""

from ser_nnunet.training.variants import SERTrainerJoint

__all__ = ["SERTrainerJoint"]
