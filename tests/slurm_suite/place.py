"""A small data set with a cascade, planned and preprocessed, and trainers of some seconds."""

from __future__ import annotations

import sys
from pathlib import Path

import SimpleITK as sitk

from tests.dataset_conversion.volumes import save
from tests.nnunet_suite.kinds import LOWRES_SCRIPT, write_hippocampus
from tests.nnunet_workplace import Workplace

DATASET = "Dataset004_Hippocampus"
FAST, SLOW, STOCK, FAILING = "SlurmFast", "SlurmSlow", "SlurmStock", "SlurmFailing"
EPOCHS = {FAST: 2, SLOW: 60, STOCK: 60, FAILING: 2}

TRAINERS = """
import os
import random
import time

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.training.variants import SERTrainerNoSAM

class Slow:
    # epochs of some seconds that need hardly any of the processor

    def on_train_start(self):
        super().on_train_start()
        self.logger.plot_progress_png = lambda folder: None

    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        time.sleep(float(os.environ.get("SER_TEST_EPOCH_SECONDS", "1")))

class SlurmFast(SERTrainerNoSAM):
    num_epochs, num_iterations_per_epoch, num_val_iterations_per_epoch = 2, 4, 1
    initial_lr, batch_size = 1e-2, 2

    def initialize(self):
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        super().initialize()

class SlurmSlow(Slow, SlurmFast):
    num_epochs, num_iterations_per_epoch = 60, 1

class SlurmFailing(SlurmFast):
    def on_train_start(self):
        super().on_train_start()
        if self.fold == 1 and not os.path.exists(os.environ["nnUNet_results"] + "/repaired"):
            raise RuntimeError("this fold fails on purpose")

class SlurmStock(Slow, nnUNetTrainer):  # nnU-Net's own: no save_every of ours, checkpoints that a kill may cut off
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cpu")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 60, 1, 1
        self.save_every = 5
        self.configuration_manager.configuration["batch_size"] = 2
"""


class SlurmWorkplace(Workplace):
    """nnU-Net's folders with data set 4: synthetic volumes of 24 x 32 x 24 voxels, planned with a cascade."""

    def nnunet(self, name: str, *arguments: object, **environment: str) -> str:
        """Run one of nnU-Net's commands, wherever its script lies."""
        return self.run(sys.executable, "-m", "ser_nnunet.cluster.console_script", name, *arguments, **environment)

    def prepare(self, cases: int, configurations: list[str]) -> None:
        write_hippocampus(self.folder / "raw", cases, None)
        raw = self.folder / "raw" / DATASET
        for file in (raw / "imagesTs").iterdir():  # any masks will do: that they are evaluated is what is tested
            image = sitk.ReadImage(str(file))
            save(sitk.Cast(image > 130, sitk.sitkUInt8), raw / "labelsTs" / file.name.replace("_0000", ""))
        planning = ("--verify_dataset_integrity", "--no_pp", "-npfp", 1)
        self.nnunet("nnUNetv2_plan_and_preprocess", "-d", 4, *planning, nnUNet_n_proc_DA="1")
        if any(name.startswith("3d_") and name != "3d_fullres" for name in configurations):
            self.run(sys.executable, "-m", LOWRES_SCRIPT, "-d", 4)
        data = list(dict.fromkeys(name.replace("3d_cascade_fullres", "3d_fullres") for name in configurations))
        processes = [1] * len(data)
        self.nnunet("nnUNetv2_preprocess", "-d", 4, "-c", *data, "-np", *processes, nnUNet_n_proc_DA="1")


def open_workplace(folder: Path, cases: int = 10, configurations: tuple[str, ...] = ("2d",)) -> SlurmWorkplace:
    place = SlurmWorkplace(folder, TRAINERS)
    if not (folder / "raw").exists():
        (folder / "raw").mkdir(parents=True)
        place.prepare(cases, list(configurations))
    return place
