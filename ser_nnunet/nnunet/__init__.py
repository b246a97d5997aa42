"""The one place that knows nnU-Net: its paths, plans, trainers and log."""
