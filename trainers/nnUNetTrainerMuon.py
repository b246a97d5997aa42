"""nnUNetv2_train ... -tr nnUNetTrainerMuon"""

from ser_nnunet.training.unet_trainer import nnUNetTrainerMuon

__all__ = ["nnUNetTrainerMuon"]
