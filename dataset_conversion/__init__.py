"""Converters to the nnU-Net raw format: one module per data set, and what they share."""

from ser_nnunet.dataset_conversion.core.pipeline import Report, convert
from ser_nnunet.dataset_conversion.core.problems import ConversionError, Problem

__all__ = ["ConversionError", "Problem", "Report", "convert"]
