"""A small data set on disk, planned by nnU-Net, and its commands in child processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from ser_nnunet.nnunet.trainers import trainers_folder
from ser_nnunet.sam.dummy_sam import build_dummy_sam

LABELS = {
    "classes": {"labels": {"background": 0, "shell": 1, "core": 2}},
    "regions": {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]},
    "ignore": {"labels": {"background": 0, "shell": 1, "core": 2, "ignore": 3}},
}
IDS = {name: 901 + index for index, name in enumerate(LABELS)}

# Trainers of a few seconds, in a folder of their own, as a user's variants are.
TRAINERS = '''
import os
import time
from ser_nnunet.training.trainer import SERTrainer

class Tiny:
    num_epochs, num_iterations_per_epoch, num_val_iterations_per_epoch = 4, 3, 1
    guided_fraction = 0.5

class TinySER(Tiny, SERTrainer):
    pass

class TinySERResumed(Tiny, SERTrainer):
    """Waits in the epoch that SER_TEST_WAIT names, so that a test can kill it there; saves every epoch."""
    save_every = 1

    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        detached = self.schedule.detached(self.current_epoch)
        self.print_to_log_file("detached", detached, "SAM", self.guidance is not None)
        if os.environ.get("SER_TEST_WAIT") == str(self.current_epoch):
            print("WAITING", flush=True)
            time.sleep(600)
'''


def volume(index):
    """A bright shell around a brighter core in noise, 8 x 40 x 32 voxels."""
    rng = np.random.default_rng(index)
    z, y, x = np.meshgrid(np.arange(8), np.arange(40), np.arange(32), indexing="ij")
    centre = rng.uniform((3, 16, 12), (5, 24, 20))
    distance = np.sqrt(((z - centre[0]) * 3) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    label = (distance < 11).astype(np.uint8) + (distance < 6)
    return (label * 60 + rng.normal(100, 10, label.shape)).astype(np.float32), label.astype(np.uint8)


def write_dataset(raw: Path, kind: str, cases: int = 6) -> None:
    folder = raw / f"Dataset{IDS[kind]:03d}_{kind.capitalize()}"
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / name).mkdir(parents=True)
    for index in range(cases):
        image, label = volume(index)
        if kind == "ignore" and index % 2:
            label[::2] = 3  # every other slice of every other case carries no annotation
        sitk.WriteImage(sitk.GetImageFromArray(image), folder / f"imagesTr/case_{index}_0000.nii.gz")
        sitk.WriteImage(sitk.GetImageFromArray(label), folder / f"labelsTr/case_{index}.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(volume(99)[0]), folder / "imagesTs/new_0000.nii.gz")
    description = {"channel_names": {"0": "FLAIR"}, "numTraining": cases, "file_ending": ".nii.gz", **LABELS[kind]}
    (folder / "dataset.json").write_text(json.dumps(description))


class Workplace:
    """nnU-Net's folders in a temporary place, and its commands as a user calls them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "trainers").mkdir(parents=True)
        (folder / "trainers" / "tiny.py").write_text(TRAINERS)
        torch.save(build_dummy_sam(image_size=64).state_dict(), folder / "dummy_sam.pth")
        self.environment = os.environ | {
            "nnUNet_raw": str(folder / "raw"),
            "nnUNet_preprocessed": str(folder / "preprocessed"),
            "nnUNet_results": str(folder / "results"),
            "nnUNet_extTrainer": os.pathsep.join([str(folder / "trainers"), str(trainers_folder())]),
            "SER_SAM_CHECKPOINT": str(folder / "dummy_sam.pth"),
            "nnUNet_def_n_proc": "1",
            "nnUNet_n_proc_DA": "0",
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait starve a busy machine
        }

    def command(self, name: str) -> str:
        return str(Path(sys.executable).parent / name)

    def start(self, name: str, *arguments: object, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(
            [self.command(name), *map(str, arguments)],
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, name: str, *arguments: object, **environment: str) -> str:
        """Run a command to its end; return what it printed; fail with it if it failed."""
        process = self.start(name, *arguments, **environment)
        output = process.communicate()[0]
        assert process.returncode == 0, output
        return output

    def model(self, kind: str, trainer: str) -> Path:
        dataset = next((self.folder / "results").glob(f"Dataset{IDS[kind]:03d}_*"))
        return dataset / f"{trainer}__nnUNetPlans__2d"


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    """All kinds of labels, converted, planned and preprocessed once."""
    place = Workplace(tmp_path_factory.mktemp("nnunet"))
    for kind in LABELS:
        write_dataset(place.folder / "raw", kind)
    numbers = IDS.values()
    place.run("nnUNetv2_plan_and_preprocess", "-d", *numbers, "-c", "2d", "-npfp", 1, "-np", 1, nnUNet_n_proc_DA="1")
    return place
