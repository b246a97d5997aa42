"""Predictions of a cross-validation that were interrupted: nnU-Net goes on with what is left."""

import os

import SimpleITK as sitk

from ser_nnunet.cluster.follow_up_runs import predict_by
from ser_nnunet.cluster.task_record import TaskRecord
from ser_nnunet.cluster.unfinished_predictions import keep_whole_masks, list_masks
from tests.cluster.test_task_run import run, task_of
from tests.cluster.trainings import DATASET, settings_of
from tests.export.model_folders import unet, write_model_folder
from tests.export.prediction_cases import write_case
from tests.runtime.toy import plan

CASES = ("a", "b", "c", "d", "e", "f")


def write_masks(folder, names, seconds=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        mask = folder / f"{name}.nii.gz"
        mask.write_bytes(b"whole")
        os.utime(mask, (seconds + number, seconds + number))


def test_nnunet_predicts_the_cases_that_are_left_and_the_latest_ones_again(tmp_path, monkeypatch):
    """Six cases, of which four have a mask; the latest of these is cut off."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    planned = plan(
        (16, 12), (1.2, 1.2), schemes=("ZScoreNormalization",) * 2, masks=(True, False), architecture=unet(2, 2, 4)
    )
    model = tmp_path / "nnUNet_results" / DATASET / "nnUNetTrainer__nnUNetPlans__2d"
    write_model_folder(model, planned)
    for seed, case in enumerate(CASES):
        write_case(tmp_path / "images", case, seed)
    folder = tmp_path / "predictions"
    write_masks(folder / ".unfinished_2d", CASES[:4])
    settings = settings_of(folds=("0",), predict=str(tmp_path / "images"))
    predicted = predict_by(settings, "nnUNetTrainer", "2d", folder, probabilities=False)
    assert predicted == folder / "2d" and [path.name for path in folder.iterdir()] == ["2d"]
    assert (predicted / "a.nii.gz").read_bytes() == b"whole", "predicted before"
    for case in CASES[1:]:
        assert sitk.ReadImage(predicted / f"{case}.nii.gz").GetSize() == (18, 22, 9)


def test_the_latest_masks_are_removed_and_what_belongs_to_no_case_stays(tmp_path):
    assert keep_whole_masks(tmp_path / "nothing") == 0
    write_masks(tmp_path, ("d", "c", "b", "a"))
    for name in ("a.npz", "a.pkl", "plans.json"):
        (tmp_path / name).touch()
    assert keep_whole_masks(tmp_path) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "a.pkl", "d.nii.gz", "plans.json"]


def test_kills_are_survived_as_long_as_further_cases_are_predicted(tmp_path):
    """Five masks are written by a run each, and every run is killed; without a further mask the third is the last."""
    masks, record = tmp_path / "predictions", TaskRecord(tmp_path / "record")
    masks.mkdir()
    further = f"n=$(ls {masks} | wc -l); test $n -ge 5 || touch {masks}/$n.nii.gz; kill -9 $$"
    assert run(task_of(further, "predict/x", predictions=str(masks)), record) == "failed"
    assert [attempt.progressed for attempt in record.attempts()] == [True] * 5 + [False] * 3
    assert len(list_masks(masks)) == 5
