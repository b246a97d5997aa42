"""nnUNet_preprocessed with the tiny data set, and an environment in which nnU-Net and SAM are not set up."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from tests.benchmark.tiny_dataset import CASES, DATASET_JSON, NAME, tiny_plans


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    """The user's nnU-Net folders, trainers and SAM are not those of the machine that runs the tests."""
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "users_results"))
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "SER_SAM_CHECKPOINT", "nnUNet_extTrainer"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def preprocessed(tmp_path_factory):
    """Preprocess the data set once."""
    return preprocess_tiny(tmp_path_factory.mktemp("preprocessed"))


def preprocess_tiny(root):
    """Write nnUNet_preprocessed with the tiny data set: a bright square at another position in every case."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    folder, data = root / NAME, root / NAME / "nnUNetPlans_2d"
    for part in (data, folder / "gt_segmentations", folder / "images"):
        part.mkdir(parents=True)
    manager = PlansManager(tiny_plans())
    for number, case in enumerate(CASES):
        label = np.zeros((3, 32, 32), np.uint8)
        label[:, 4 + 3 * number : 12 + 3 * number, 8:16] = 1
        image = label * 2 + np.random.default_rng(number).normal(5, 0.3, label.shape).astype(np.float32)
        files = folder / "images" / f"{case}_0000.nii.gz", folder / "gt_segmentations" / f"{case}.nii.gz"
        for array, file in zip((image, label), files, strict=True):
            sitk.WriteImage(sitk.GetImageFromArray(array), file)
        DefaultPreprocessor(verbose=False).run_case_save(
            str(data / case),
            [str(files[0])],
            str(files[1]),
            manager,
            manager.get_configuration("2d"),
            DATASET_JSON,
        )
    (folder / "nnUNetPlans.json").write_text(json.dumps(tiny_plans()))
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
    (folder / "dataset_fingerprint.json").write_text("{}")
    splits = [{"train": CASES[:4], "val": CASES[4:]}]
    (folder / "splits_final.json").write_text(json.dumps(splits))
    return root


@pytest.fixture
def planned_data(preprocessed, monkeypatch):
    """nnUNet_preprocessed is set to the folder of the tiny data set; return it."""
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    return preprocessed
