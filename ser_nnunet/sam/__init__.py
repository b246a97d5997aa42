"""SAM models and guidance by them; used in training only."""

from ser_nnunet.sam.checkpoint import CheckpointError, load_sam
from ser_nnunet.sam.guide import SAMGuide

__all__ = ["CheckpointError", "SAMGuide", "load_sam"]
