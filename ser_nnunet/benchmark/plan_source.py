"""Which plan a benchmark is about: a planned data set, a plans file, or what nnU-Net would plan for a given shape."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import preprocessed_dataset
from ser_nnunet.utils.variables import environment

if TYPE_CHECKING:
    from ser_nnunet.nnunet.plans import Planned

PLANS = "nnUNetPlans"
RESENC_L = "nnUNetResEncUNetLPlans"


@dataclass(frozen=True)
class MadeUp:
    """A data set that isn't there: nnU-Net's planner needs no more than this of it.

    Attributes:
        shape: of every image after cropping, in nnU-Net's order of axes (slices, rows, columns).
        spacing: in mm, in the same order.
        channels, classes, cases: how many; the number of cases limits the batch of small data sets.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    channels: int
    classes: int
    cases: int


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose a plan."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-d", metavar="ID", help="a planned data set: number or name")
    source.add_argument("-plans", type=Path, metavar="FILE", help="a plans file, of data that needn't be there")
    made_up = "what nnU-Net's planner makes of images of this shape (slices rows columns)"
    source.add_argument("--shape", type=int, nargs=3, metavar="N", help=made_up)
    parser.add_argument("-c", default="2d", metavar="CONFIG", help="configuration (default: 2d)")
    parser.add_argument("-p", default=PLANS, metavar="PLANS", help=f"with -d: the plans' name (default: {PLANS})")
    beside = "with -plans (default: the one beside it)"
    parser.add_argument("--dataset-json", type=Path, metavar="FILE", help=beside)
    of_shape = parser.add_argument_group("with --shape")
    spacing = {"type": float, "nargs": 3, "metavar": "MM", "default": [1.0, 1.0, 1.0]}
    of_shape.add_argument("--spacing", help="(default: 1 1 1)", **spacing)  # type: ignore[arg-type]
    for name, default in (("channels", 1), ("classes", 1), ("cases", 100)):
        of_shape.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"(default: {default})")
    median = "slices, rows, columns to predict (default: the data set's median, after resampling)"
    parser.add_argument("--volume", type=int, nargs=3, metavar="N", help=median)


def planned_from(args: argparse.Namespace) -> tuple[Planned, Planned | None]:
    """Return the chosen plan, and ResEnc-L's of the same data if there is one.

    Raises:
        UserError: no such data set, file or configuration.
    """
    from ser_nnunet.nnunet.plans import Planned, read_planned

    volume = tuple(args.volume) if args.volume else None
    if args.shape:
        made_up = MadeUp(tuple(args.shape), tuple(args.spacing), args.channels, args.classes, args.cases)
        plans, resenc, dataset_json = plan_shape(made_up)
        if args.c not in plans["configurations"]:
            known = ", ".join(plans["configurations"])
            raise UserError(f"nnU-Net plans no configuration {args.c} for this shape: choose one of {known}")
        return Planned(plans, args.c, dataset_json, volume), Planned(resenc, args.c, dataset_json, volume)
    file = args.plans or preprocessed_dataset(args.d) / f"{args.p}.json"
    resenc_file = file.parent / f"{RESENC_L}.json"
    own = read_planned(file, args.c, args.dataset_json, volume)
    if file == resenc_file or not resenc_file.is_file():
        return own, None
    return own, read_planned(resenc_file, args.c, args.dataset_json, volume)


def plan_shape(data: MadeUp) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return (default plans, ResEnc-L plans, dataset.json) by nnU-Net's own planners on a made fingerprint."""
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
        nnUNetPlannerResEncL,
    )

    with tempfile.TemporaryDirectory(prefix="ser_benchmark_") as folder:
        name = _write_made_up(data, Path(folder))
        # The planner refuses nnUNet_n_proc_DA=0, which is right for training in one process.
        paths = {"nnUNet_raw": folder, "nnUNet_preprocessed": str(Path(folder) / "pre"), "nnUNet_n_proc_DA": "1"}
        with environment(paths), contextlib.redirect_stdout(io.StringIO()):
            plans = ExperimentPlanner(name).plan_experiment()
            resenc = nnUNetPlannerResEncL(name).plan_experiment()
        # Through JSON, as nnU-Net's own plans are: no numpy numbers, no tuples.
        return json.loads(json.dumps(plans)), json.loads(json.dumps(resenc)), _dataset_json(data)


def _dataset_json(data: MadeUp) -> dict[str, Any]:
    return {
        "channel_names": {str(channel): f"MRI {channel}" for channel in range(data.channels)},
        "labels": {"background": 0} | {f"class {number}": number for number in range(1, data.classes + 1)},
        "numTraining": data.cases,
        "file_ending": ".nii.gz",
    }


def _write_made_up(data: MadeUp, raw: Path) -> str:
    """Write the fingerprint and one tiny case: the planner reads an image only to learn its format."""
    import SimpleITK as sitk

    name = "Dataset999_MadeUp"
    for part in (raw / name / "imagesTr", raw / name / "labelsTr", raw / "pre" / name):
        part.mkdir(parents=True)
    tiny = sitk.Image(4, 4, 4, sitk.sitkUInt8)
    for channel in range(data.channels):
        sitk.WriteImage(tiny, raw / name / "imagesTr" / f"case_{channel:04d}.nii.gz")
    sitk.WriteImage(tiny, raw / name / "labelsTr" / "case.nii.gz")
    intensities = dict.fromkeys(("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 1.0)
    fingerprint = {
        "spacings": [list(data.spacing)] * data.cases,
        "shapes_after_crop": [list(data.shape)] * data.cases,
        "foreground_intensity_properties_per_channel": {str(channel): intensities for channel in range(data.channels)},
        "median_relative_size_after_cropping": 1.0,
    }
    (raw / name / "dataset.json").write_text(json.dumps(_dataset_json(data)), encoding="utf-8")
    (raw / "pre" / name / "dataset_fingerprint.json").write_text(json.dumps(fingerprint), encoding="utf-8")
    return name
