"""SAM-guided prompt learning as an nnU-Net v2 plugin: SAM teaches, a small network predicts."""

__version__ = "0.6.0"
