"""What nnU-Net would plan for a data set of which only the shape is known."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import SimpleITK as sitk

from ser_nnunet.benchmark.benchmark_settings import HypotheticalDataset
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import PREPROCESSED, RAW
from ser_nnunet.utils.files import write_json
from ser_nnunet.utils.variables import environment

NAME = "Dataset999_Hypothetical"


class HypotheticalPlans(NamedTuple):
    """The default planner's plans, those of nnU-Net's residual networks by name, and the data set's dataset.json."""

    default: dict[str, Any]
    resenc: dict[str, dict[str, Any]]
    dataset_json: dict[str, Any]


def plan_hypothetical_dataset(data: HypotheticalDataset) -> HypotheticalPlans:
    """Run nnU-Net's own planners on a fingerprint in which every image has the given shape and spacing.

    Configurations whose U-Net would have a single stage, which can't be built, are left out.

    Raises:
        UserError: the shape is too small for a U-Net in all of them.
    """
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
        nnUNetPlannerResEncL,
        nnUNetPlannerResEncM,
    )

    dataset_json = {
        "channel_names": {str(channel): f"MRI {channel}" for channel in range(data.channels)},
        "labels": {"background": 0} | {f"class {number}": number for number in range(1, data.classes + 1)},
        "numTraining": data.cases,
        "file_ending": ".nii.gz",
    }
    with tempfile.TemporaryDirectory(prefix="ser_benchmark_") as folder:
        raw, preprocessed = Path(folder) / "raw", Path(folder) / "preprocessed"
        write_one_case(raw / NAME, dataset_json)
        write_json(preprocessed / NAME / "dataset_fingerprint.json", make_fingerprint(data))
        # The planner refuses nnUNet_n_proc_DA=0, which is right for training in one process.
        paths = {RAW: str(raw), PREPROCESSED: str(preprocessed), "nnUNet_n_proc_DA": "1"}
        with environment(paths), contextlib.redirect_stdout(io.StringIO()):
            planners = (ExperimentPlanner, nnUNetPlannerResEncM, nnUNetPlannerResEncL)
            plans = [planner(NAME).plan_experiment() for planner in planners]
    # Through JSON, as nnU-Net's own plans are: no numpy numbers, no tuples.
    default, medium, large = (json.loads(json.dumps(each)) for each in plans)
    for name, configuration in list(default["configurations"].items()):
        if configuration.get("architecture", {}).get("arch_kwargs", {}).get("n_stages") == 1:
            for each in (default, medium, large):
                each["configurations"].pop(name, None)
    if not default["configurations"]:
        raise UserError(
            f"--shape {' '.join(map(str, data.shape))} is too small: nnU-Net plans a U-Net with one stage, which can't "
            "be built; 8 voxels or more along every axis of the patch expected"
        )
    return HypotheticalPlans(default, {"ResEnc-M": medium, "ResEnc-L": large}, dataset_json)


def make_fingerprint(data: HypotheticalDataset) -> dict[str, Any]:
    """Return nnU-Net's fingerprint of a data set whose images all have the same shape and spacing."""
    intensities = dict.fromkeys(("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 1.0)
    return {
        "spacings": [list(data.spacing)] * data.cases,
        "shapes_after_crop": [list(data.shape)] * data.cases,
        "foreground_intensity_properties_per_channel": {str(channel): intensities for channel in range(data.channels)},
        "median_relative_size_after_cropping": 1.0,
    }


def write_one_case(folder: Path, dataset_json: dict[str, Any]) -> None:
    """Write dataset.json and one case of 4 x 4 x 4 voxels: the planner reads an image only to learn its format."""
    write_json(folder / "dataset.json", dataset_json)
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir()
    image = sitk.Image(4, 4, 4, sitk.sitkUInt8)
    for channel in dataset_json["channel_names"]:
        sitk.WriteImage(image, folder / "imagesTr" / f"case_{int(channel):04d}.nii.gz")
    sitk.WriteImage(image, folder / "labelsTr" / "case.nii.gz")
