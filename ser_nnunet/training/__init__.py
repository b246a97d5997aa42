"""Losses, their schedule, and the nnU-Net trainers that use them."""
