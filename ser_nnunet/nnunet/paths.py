"""nnU-Net's three folders, and the folder of a data set in them."""

from __future__ import annotations

import os
from pathlib import Path

from ser_nnunet.errors import UserError

RAW = "nnUNet_raw"
PREPROCESSED = "nnUNet_preprocessed"
RESULTS = "nnUNet_results"


def nnunet_folder(variable: str) -> Path | None:
    """Return the folder that `nnUNet_raw`, `nnUNet_preprocessed` or `nnUNet_results` names; None where it is unset."""
    folder = os.environ.get(variable)
    return Path(folder) if folder else None


def preprocessed_dataset(dataset: str) -> Path:
    """Return a data set's folder in nnUNet_preprocessed, by number or name.

    Raises:
        UserError: the variable isn't set, or no (or more than one) such data set has been planned.
    """
    root = nnunet_folder(PREPROCESSED)
    if root is None:
        raise UserError("nnUNet_preprocessed isn't set: export nnU-Net's paths, or name a file with -plans")
    prefix = f"Dataset{int(dataset):03d}_" if dataset.isdigit() else dataset
    found = sorted(path for path in root.glob("Dataset*") if path.name == dataset or path.name.startswith(prefix))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(
            f"data set {dataset}: one folder {prefix}* expected in {root}, {names} found. "
            f"Run  nnUNetv2_plan_and_preprocess -d {dataset} -c 2d  first"
        )
    return found[0]
