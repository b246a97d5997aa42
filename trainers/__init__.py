"""The folder that nnUNet_extTrainer points at: one thin module per -tr choice."""
