"""nnUNetv2_train ... -tr SERTrainer_5epochs, SERTrainerNoSAM_100epochs, SERTrainerJoint_250epochs, ..."""

from ser_nnunet.training.variants import TRAINERS

globals().update(TRAINERS)
