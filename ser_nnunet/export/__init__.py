"""Export of trained models: from nnU-Net's model folder to the one file that `ser_nnunet.runtime` reads."""
