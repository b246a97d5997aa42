"""Converters to the nnU-Net raw format: one module per data set, and what they share."""

from .conversion import Report, convert
from .problems import ConversionError, Problem

__all__ = ["ConversionError", "Problem", "Report", "convert"]
