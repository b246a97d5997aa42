"""The data sets that can be converted, by name. A new one needs its module and one line here."""

from __future__ import annotations

from dataclasses import dataclass

from ser_nnunet.dataset_conversion import (
    bids,
    folders,
    msd,
    mslesseg,
    multisite_prostate,
    pancreas_ct,
    pansegdata,
    promise12,
)
from ser_nnunet.dataset_conversion.core.pipeline import Find


@dataclass(frozen=True)
class Converter:
    """A data set that can be converted."""

    find: Find
    """`find(tree, options) -> CaseTable` of the data set's module."""
    help: str
    has_classes: bool = False
    """Whether it offers a choice of classes (`--classes`)."""
    is_described: bool = False
    """Whether the user describes files and classes (`Options.layout`), because they are not known."""


CONVERTERS = {
    "mslesseg": Converter(mslesseg.find, "MSLesSeg: brain MRI, multiple sclerosis lesions (2025 and 2024 layouts)"),
    "pancreas-ct": Converter(pancreas_ct.find, "NIH Pancreas-CT: abdominal CT, pancreas (DICOM or NIfTI)"),
    "pansegdata": Converter(pansegdata.find, "PanSegData: abdominal MRI, pancreas (--channels T1 or --channels T2)"),
    "promise12": Converter(promise12.find, "PROMISE12: prostate MRI (.mhd and .raw)"),
    "multisite-prostate": Converter(multisite_prostate.find, "SAML's multi-site prostate MRI, six sites"),
    "msd": Converter(msd.find, "a TaskXX_Name folder of the Medical Segmentation Decathlon", has_classes=True),
    "folders": Converter(
        folders.find, "any folder of images: a pattern per channel and for the label", is_described=True
    ),
    "bids": Converter(bids.find, "any BIDS data set with labels in derivatives", is_described=True),
}
"""Converters by the name after `ser-nnunet convert`."""
