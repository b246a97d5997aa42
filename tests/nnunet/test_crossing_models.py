"""nnU-Net compares and ensembles a 2D model of one trainer with a 3D model of another, as docs/training.md says."""

import json
import multiprocessing.dummy
import pickle

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.ensembling.ensemble import ensemble_folders
from nnunetv2.evaluation.find_best_configuration import (
    dumb_trainer_config_plans_to_trained_models_dict,
    filter_available_models,
)

from tests.training.helpers import DATASETS, make_plans

MODELS = (
    {"trainer": "SERTrainerNoSAM", "plans": "nnUNetPlans", "configuration": "2d"},
    {"trainer": "nnUNetTrainer", "plans": "nnUNetPlans", "configuration": "3d_fullres"},
)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The folders of these two models, planned together."""
    plans = make_plans()
    plans["configurations"] |= make_plans((8, 32, 32), configuration="3d_fullres")["configurations"]
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
        (tmp_path / name / plans["dataset_name"]).mkdir(parents=True)
    (tmp_path / "nnUNet_preprocessed" / plans["dataset_name"] / "nnUNetPlans.json").write_text(json.dumps(plans))
    for model in MODELS:
        name = "{trainer}__{plans}__{configuration}".format(**model)
        (tmp_path / "nnUNet_results" / plans["dataset_name"] / name).mkdir()
    return tmp_path, plans


def test_the_python_function_takes_exactly_the_named_models(trained):
    assert filter_available_models(MODELS, 1) == list(MODELS)


def test_the_command_wants_every_combination(trained):
    crossed = dumb_trainer_config_plans_to_trained_models_dict(
        ["SERTrainerNoSAM", "nnUNetTrainer"], ["2d", "3d_fullres"], ["nnUNetPlans"]
    )
    with pytest.raises(RuntimeError, match="does not have an output folder"):
        filter_available_models(crossed, 1)


def write_prediction(folder, plans, foreground):
    """What `nnUNetv2_predict --save_probabilities` writes."""
    folder.mkdir()
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(DATASETS["binary"] | {"file_ending": ".nii.gz"}))
    np.savez_compressed(folder / "case.npz", probabilities=np.stack([1 - foreground, foreground]).astype(np.float16))
    geometry = {"spacing": (1.0, 1.0, 1.0), "origin": (0.0, 0.0, 0.0), "direction": tuple(np.eye(3).ravel())}
    (folder / "case.pkl").write_bytes(pickle.dumps({"sitk_stuff": geometry}))
    return str(folder)


def test_an_ensemble_averages_the_probabilities_of_both(trained, monkeypatch):
    monkeypatch.setattr("multiprocessing.get_context", lambda method: multiprocessing.dummy)  # threads: no new imports
    folder, plans = trained
    foreground = np.array([0.9, 0.9, 0.2, 0.1]).reshape(1, 1, 4), np.array([0.8, 0.3, 0.7, 0.2]).reshape(1, 1, 4)
    of_2d, of_3d = (write_prediction(folder / name, plans, each) for name, each in zip("ab", foreground, strict=True))
    ensemble_folders([of_2d, of_3d], str(folder / "both"), num_processes=1)
    segmentation = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "both" / "case.nii.gz")))
    assert segmentation.ravel().tolist() == [1, 1, 0, 0]
