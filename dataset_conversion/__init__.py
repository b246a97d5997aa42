"""Converters to the nnU-Net raw format: one module per data set, and what they share."""
