"""The folder that nnUNet_extTrainer points at: thin modules, one name per -tr choice."""
