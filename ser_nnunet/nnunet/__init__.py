"""Access to nnU-Net's paths, plans, trainers and log."""
