"""Converters to the nnU-Net raw format: one module per data set, `registry`, and what they share in `core`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser_nnunet.dataset_conversion.bids import BidsLayout
from ser_nnunet.dataset_conversion.core.class_options import Description
from ser_nnunet.dataset_conversion.core.data_classes import ConversionReport, Options, Problem
from ser_nnunet.dataset_conversion.core.pipeline import ConversionSettings, run_conversion
from ser_nnunet.dataset_conversion.core.problems import ConversionError
from ser_nnunet.dataset_conversion.folders import FolderLayout
from ser_nnunet.dataset_conversion.registry import CONVERTERS
from ser_nnunet.errors import UserError

__all__ = ["BidsLayout", "ConversionError", "ConversionReport", "Description", "FolderLayout", "Problem", "convert"]


def convert(
    source: str | Path,
    dataset_id: int,
    *,
    dataset: str,
    name: str | None = None,
    channels: Sequence[str] | None = None,
    classes: str = "shipped",
    layout: FolderLayout | BidsLayout | None = None,
    exclude: Sequence[str] = (),
    dry_run: bool = False,
    allow_partial: bool = False,
    overwrite: bool = False,
    processes: int | None = None,
    raw: Path | None = None,
    unlabelled: str | Path | None = None,
) -> ConversionReport:
    """Convert the downloaded data set below `source` into `DatasetXXX_Name`.

    First all cases are found, then all of them checked, then written into a hidden folder that is renamed at the end.
    Nothing below `source` is changed.

    Args:
        source: folder of the unpacked download; the files may lie at any depth.
        dataset_id: nnU-Net's id, 1 to 999.
        dataset: a key of `registry.CONVERTERS`.
        name: name after `DatasetXXX_`; the data set's own by default.
        channels: channels to use, in this order; all by default.
        classes: for data sets that offer a choice: `shipped`, `merged` or `regions`.
        layout: what the files are, for `folders` and `bids`, which need it.
        exclude: names of cases to exclude.
        dry_run: run all checks and write nothing. Without `raw` and $nnUNet_raw, it can't check whether the id is free,
            and notes that.
        allow_partial: accept fewer cases than the official release has.
        overwrite: replace an existing data set of the same id and name.
        processes: number of processes; all cores that memory allows by default. A script that uses more than one needs
            the `if __name__ == "__main__"` guard, as with nnU-Net's own functions.
        raw: folder to write into; $nnUNet_raw by default.
        unlabelled: folder of scans without labels, named as in nnU-Net's imagesTs (`CASE_0000.nii.gz`, one file per
            channel, in the order of the data set's). They become training cases whose label is nnU-Net's ignore label
            everywhere, from which `SERTrainerSemi` and `SERTrainerSemiNoSAM` learn.

    Raises:
        ConversionError: the data set has faults; lists all of them. Nothing was written.
        UserError: a folder, id or name is not possible. Nothing was written.
    """
    if dataset not in CONVERTERS:
        raise UserError(f"there is no converter for {dataset!r}: choose among {', '.join(CONVERTERS)}")
    if layout is not None and not CONVERTERS[dataset].is_described:
        raise UserError(f"the layout of {dataset} is known: `layout` is for folders and bids")
    if CONVERTERS[dataset].is_described and (channels is not None or classes != "shipped"):
        raise UserError(f"channels and classes of {dataset} are part of its `layout`")
    options = Options(None if channels is None else tuple(channels), classes, layout)
    settings = ConversionSettings(
        dataset,
        dataset_id,
        name,
        tuple(exclude),
        dry_run,
        allow_partial,
        overwrite,
        processes,
        raw,
        None if unlabelled is None else Path(unlabelled),
    )
    return run_conversion(CONVERTERS[dataset].find, Path(source), options, settings)
