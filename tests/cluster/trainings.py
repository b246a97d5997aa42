"""Plans, and trainings as they lie on the disk, without nnU-Net having written them."""

import json
import zipfile

from ser_nnunet.cluster.crossval_settings import CrossvalSettings
from tests.training.helpers import make_plans

DATASET = "Dataset001_Tiny"


def plans_with_cascade():
    plans = make_plans()
    patches = {"2d": [32, 32], "3d_lowres": [16, 16, 16], "3d_fullres": [16, 16, 16]}
    base = plans["configurations"]["2d"]
    plans["configurations"] = {
        name: {**base, "data_identifier": f"nnUNetPlans_{name}", "patch_size": patch} for name, patch in patches.items()
    }
    plans["configurations"]["3d_lowres"]["next_stage"] = "3d_cascade_fullres"
    plans["configurations"]["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    return plans


def plan_dataset(root, monkeypatch, folds=5):
    """Write what a planned data set has, and let nnU-Net's variables lead there."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (root / name).mkdir()
        monkeypatch.setenv(name, str(root / name))
    folder = root / "nnUNet_preprocessed" / DATASET
    plans = plans_with_cascade()
    for name in ("2d", "3d_lowres", "3d_fullres"):
        (folder / f"nnUNetPlans_{name}").mkdir(parents=True)
    description = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "lesion": 1}, "file_ending": ".nii.gz"}
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(description))
    splits = [{"train": [f"b{fold}"], "val": [f"a{fold}"]} for fold in range(folds)]
    (folder / "splits_final.json").write_text(json.dumps(splits))
    return plans


def settings_of(configurations=("2d",), folds=("0", "1"), trainer="SERTrainerNoSAM", **others):
    return CrossvalSettings(
        DATASET, tuple(configurations), tuple(folds), trainer, **{"engine": "local", "device": "cpu", **others}
    )


def write_checkpoint(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", b"weights")


def finish_training(folder, dice=0.8, cases=("a0",)):
    """Write what a finished training leaves."""
    write_checkpoint(folder / "checkpoint_final.pth")
    (folder / "validation").mkdir()
    metrics = [{"prediction_file": f"/somewhere/{case}.nii.gz"} for case in cases]
    summary = {"foreground_mean": {"Dice": dice}, "metric_per_case": metrics}
    (folder / "validation" / "summary.json").write_text(json.dumps(summary))
    (folder.parent / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
