"""Cross-validation as jobs: all folds and configurations on a SLURM cluster or one machine, resumed from the disk."""
