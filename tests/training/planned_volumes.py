"""Small 3D data sets, planned and preprocessed by nnU-Net's own planners in this process."""

import json
import queue
import threading
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import SimpleITK as sitk
import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from ser_nnunet.training.variants import SERTrainerNoSAM

CLASSES = {"labels": {"background": 0, "shell": 1, "core": 2}}
REGIONS_AND_IGNORE = {
    "labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
    "regions_class_order": [1, 2],
}
DATASET = "Dataset001_Volumes"


class PlannedVolumes:
    """nnU-Net's three folders below `folder`, with a data set of four cases.

    `shape` is in voxels (slices, rows, columns), `spacing` in mm in the same order. `settings` change the planned
    configuration 3d_fullres; `further` adds configurations that inherit from it.
    """

    def __init__(
        self,
        folder,
        labels,
        channels=1,
        shape=(16, 24, 20),
        spacing=(1.0, 1.0, 1.0),
        planner=ExperimentPlanner,
        settings=None,
        further=None,
    ):
        self.folder, self.shape, self.spacing = Path(folder), shape, spacing
        self.channels, self.cases = channels, [f"case_{index}" for index in range(4)]
        self.dataset_json = {
            "channel_names": {str(index): f"MR{index}" for index in range(channels)},
            "numTraining": len(self.cases),
            "file_ending": ".nii.gz",
            **labels,
        }
        self.raw, self.preprocessed, self.results = (
            self.folder / kind / DATASET for kind in ("raw", "preprocessed", "results")
        )
        for place in (self.raw / "imagesTr", self.raw / "labelsTr", self.preprocessed / "gt_segmentations"):
            place.mkdir(parents=True)
        self.write_raw()
        self.plan(planner, settings or {}, further or {})

    def volume(self, index):
        """A bright shell around a brighter core in noise; with an ignore label, half of the slices have no label."""
        rng = np.random.default_rng(index)
        grid = np.meshgrid(*[np.linspace(-1, 1, edge) for edge in self.shape], indexing="ij")
        distance = np.sqrt(
            sum((axis - shift) ** 2 for axis, shift in zip(grid, rng.uniform(-0.2, 0.2, 3), strict=True))
        )
        label = (distance < 0.8).astype(np.uint8) + (distance < 0.45)
        image = (label * 60 + rng.normal(100, 10, (self.channels, *self.shape))).astype(np.float32)
        if "ignore" in self.dataset_json["labels"]:
            label[::2] = 3
        return image, label

    def write_raw(self):
        properties = {"max": 300.0, "mean": 180.0, "median": 180.0, "min": 60.0, "std": 30.0}
        properties |= {"percentile_00_5": 120.0, "percentile_99_5": 240.0}
        for index, case in enumerate(self.cases):
            channels, label = self.volume(index)
            for number, channel in enumerate(channels):
                self.write(channel, self.raw / f"imagesTr/{case}_{number:04d}.nii.gz")
            for place in (self.raw / "labelsTr", self.preprocessed / "gt_segmentations"):
                self.write(label, place / f"{case}.nii.gz")
        fingerprint = {
            "spacings": [list(self.spacing)] * len(self.cases),
            "shapes_after_crop": [list(self.shape)] * len(self.cases),
            "foreground_intensity_properties_per_channel": dict.fromkeys(map(str, range(self.channels)), properties),
            "median_relative_size_after_cropping": 1.0,
        }
        (self.raw / "dataset.json").write_text(json.dumps(self.dataset_json))
        (self.preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
        folds = [{"train": self.cases[:3], "val": self.cases[3:]}]
        (self.preprocessed / "splits_final.json").write_text(json.dumps(folds))

    def write(self, array, file):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(self.spacing[::-1])
        sitk.WriteImage(image, file)

    def plan(self, planner, settings, further):
        self.plans = planner(DATASET).plan_experiment()
        self.plans = json.loads((self.preprocessed / f"{self.plans['plans_name']}.json").read_text())
        configurations = self.plans["configurations"]
        configurations["3d_fullres"] |= {"batch_size": 2} | settings
        configurations |= further
        for name in {"3d_fullres", *further}:
            manager = PlansManager(self.plans).get_configuration(name)
            target = self.preprocessed / manager.data_identifier
            if target.exists():
                continue
            target.mkdir()
            for case in self.cases:
                files = [self.raw / f"imagesTr/{case}_{number:04d}.nii.gz" for number in range(self.channels)]
                DefaultPreprocessor(verbose=False).run_case_save(
                    str(target / case),
                    list(map(str, files)),
                    str(self.raw / f"labelsTr/{case}.nii.gz"),
                    PlansManager(self.plans),
                    manager,
                    self.dataset_json,
                )

    def trainer(self, configuration="3d_fullres", fold=0, trainer_class=SERTrainerNoSAM, epochs=2, resumed=False):
        """Return a trainer as nnUNetv2_train builds it, with epochs of two steps."""
        plans = json.loads(json.dumps(self.plans)) | {"continue_training": resumed}
        trainer = trainer_class(plans, configuration, fold, self.dataset_json, torch.device("cpu"))
        trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = epochs, 2, 1
        return trainer


def read_masks(folder):
    """Return the masks in a folder by case."""
    files = sorted(Path(folder).glob("*.nii.gz"))
    return {file.name.removesuffix(".nii.gz"): sitk.GetArrayFromImage(sitk.ReadImage(file)) for file in files}


def threads_for_processes(monkeypatch):
    """Let nnU-Net's validation and prediction start threads, because new processes take seconds to import it."""
    context = SimpleNamespace(Pool=ThreadPool, Process=threading.Thread)
    manager = SimpleNamespace(Event=threading.Event, Queue=queue.Queue)
    monkeypatch.setattr("multiprocessing.get_context", lambda kind=None: context)
    monkeypatch.setattr("nnunetv2.inference.data_iterators.Manager", lambda: manager)
