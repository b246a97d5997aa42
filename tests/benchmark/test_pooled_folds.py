"""Two folds, two seeds and three trainers whose Dice is known: their cases are pooled and compared by patient."""

import json

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from ser_nnunet.cli import main
from ser_nnunet.evaluation import Evaluation
from tests.benchmark.tiny_dataset import CASES, NAME

# Voxels by which predictions are off the references, squares of 8 x 8, by trainer and seed: Dice 1 - shift / 8.
SHIFTS = {
    ("nnUNetTrainer", 0): 4,
    ("nnUNetTrainer", 1): 4,
    ("nnUNetTrainerAdam1en3", 0): 2,
    ("nnUNetTrainerAdam1en3", 1): 1,
    ("SERTrainerNoSAM", 0): 1,
    ("SERTrainerNoSAM", 1): 0,
}
SPLITS = [{"train": CASES[2:], "val": CASES[:2]}, {"train": CASES[:2], "val": CASES[2:]}]


@pytest.fixture
def planned(preprocessed, tmp_path, monkeypatch):
    """nnUNet_preprocessed with the tiny data set in two folds."""
    folder = tmp_path / "preprocessed" / NAME
    folder.mkdir(parents=True)
    for file in (preprocessed / NAME).iterdir():
        if file.name != "splits_final.json":
            (folder / file.name).symlink_to(file)
    (folder / "splits_final.json").write_text(json.dumps(SPLITS))
    monkeypatch.setenv("nnUNet_preprocessed", str(folder.parent))
    monkeypatch.setattr("ser_nnunet.evaluation.evaluator.count_processes", lambda *_: 1)
    return folder


def finish_runs(planned, out, folds, extra=0):
    """Write what finished trainings leave; `extra` voxels more are wrong in fold 1."""
    for (trainer, seed), shift in SHIFTS.items():
        for fold in folds:
            run = out / "runs" / f"{trainer}_fold{fold}_seed{seed}"
            (run / "validation").mkdir(parents=True)
            for case in SPLITS[fold]["val"]:
                reference = sitk.ReadImage(planned / "gt_segmentations" / f"{case}.nii.gz")
                array = np.roll(sitk.GetArrayFromImage(reference), shift + extra * fold, axis=2)
                prediction = sitk.GetImageFromArray(array)
                prediction.CopyInformation(reference)
                sitk.WriteImage(prediction, run / "validation" / f"{case}.nii.gz")
            (run / "validation" / "summary.json").write_text("{}")
            (run / "curve.csv").write_text("epoch,iterations,pseudo_dice,seconds\n0,1,0.5,1.0\n1,2,0.6,1.0\n")
            done = {"train_seconds": 2.0, "predict_seconds": 1.0, "parameters": 10, "batch_size": 2, "iterations": 2}
            (run / "finished.json").write_text(json.dumps(done | {"predictions": "validation"}))


def benchmark(out, *options):
    command = ["benchmark", "accuracy", "-d", "1", "-tr", "SERTrainerNoSAM", "--epochs", "2", "--iterations", "1"]
    return main([*command, "--seeds", "0", "1", "-device", "cpu", "-o", str(out), *options])


def test_folds_are_pooled_and_everything_counts_against_the_better_baseline(planned, tmp_path, capsys):
    out = tmp_path / "out"
    finish_runs(planned, out, [0])
    assert benchmark(out) == 0
    finish_runs(planned, out, [1], extra=1)
    capsys.readouterr()
    assert benchmark(out, "-f", "0", "1") == 0  # the fold is added to the same folder
    page = capsys.readouterr().out

    table = pd.read_csv(out / "accuracy.csv", keep_default_na=False)
    dice = table[(table["metric"] == "Dice") & (table["class"] == "all classes")].set_index("trainer")
    assert dice["role"].to_dict() == {
        "nnUNetTrainerAdam1en3": "better baseline",
        "nnUNetTrainer": "other baseline",
        "SERTrainerNoSAM": "",
    }
    # Shifts 4, 1.5 and 0.5 over both seeds; in fold 1, with three of the five cases, one more.
    expected = {name: 1 - (shift + 3 / 5) / 8 for name, shift in zip(dice.index, (1.5, 4, 0.5), strict=True)}
    assert dice["mean"].astype(float).to_dict() == pytest.approx(expected)
    assert dice["difference"].astype(float).tolist() == pytest.approx([0, -2.5 / 8, 1 / 8])
    assert set(dice["folds"]) == {"0 1"} and set(dice["n"]) == {5} and set(dice["patients_from"]) == {"each scan"}

    folds = pd.read_csv(out / "folds.csv", keep_default_na=False).set_index(["fold", "trainer"])
    assert folds.loc[(0, "SERTrainerNoSAM"), "mean"] == pytest.approx(1 - 0.5 / 8)
    assert folds.loc[(1, "nnUNetTrainer"), ["mean", "n"]].tolist() == pytest.approx([1 - 5 / 8, 3])
    costs = pd.read_csv(out / "costs.csv", keep_default_na=False)
    assert costs["trainer"].tolist() == list(dice.index) and costs["train_seconds"].tolist() == [2, 2, 2]
    curves = pd.read_csv(out / "learning_curves.csv")
    assert len(curves) == 3 * 2 * 2 * 2 and set(curves["fold"]) == {0, 1}
    assert "The baseline is nnUNetTrainerAdam1en3" in page and "## Dice by fold" in page
    assert "| nnUNetTrainer (other baseline) | Dice | all classes | 0.425 (" in page
    assert "5 scans, each counted as a patient" in page

    evaluation = Evaluation.read(out / "evaluation")
    assert evaluation.methods[:2] == ["nnUNetTrainerAdam1en3 seed 0", "nnUNetTrainerAdam1en3 seed 1"]
    assert set(evaluation.comparison["method"]) == {"nnUNetTrainerAdam1en3 seed 0"}
    for (trainer, seed), shift in SHIFTS.items():
        found = evaluation.values("Dice", "lesion", f"{trainer} seed {seed}")
        assert found.tolist() == pytest.approx([1 - shift / 8] * 2 + [1 - (shift + 1) / 8] * 3)
    large = dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "axes.labelsize", "axes.titlesize"), 30)
    with mpl.rc_context(large):  # as in a process in which nnU-Net has drawn its progress.png
        assert main(["report", str(out / "evaluation")]) == 0  # the linked predictions are found


def test_patients_are_resampled_and_a_wrong_file_is_refused_before_anything_is_written(planned, tmp_path, capsys):
    out, groups = tmp_path / "out", tmp_path / "groups.json"
    finish_runs(planned, out, [0, 1], extra=1)
    assert benchmark(out, "-f", "0", "1") == 0
    alone = pd.read_csv(out / "accuracy.csv").iloc[0]
    groups.write_text(json.dumps(dict(zip(CASES, ["P1", "P1", "P2", "P2", "P2"], strict=True))))
    assert benchmark(out, "-f", "0", "1", "--groups", str(groups)) == 0
    grouped = pd.read_csv(out / "accuracy.csv").iloc[0]
    assert (alone["patients"], grouped["patients"], grouped["n"]) == (5, 2, 5)
    assert grouped["mean"] == alone["mean"] and grouped["patients_from"] == groups.name
    # The better baseline's worse seed with the worse patient alone, and its better seed with the better patient alone;
    # five scans that are drawn one by one rarely come from one patient only.
    assert grouped[["mean_low", "mean_high"]].tolist() == pytest.approx([1 - 3 / 8, 1 - 1 / 8])
    assert alone["mean_low"] > grouped["mean_low"] and alone["mean_high"] < grouped["mean_high"]
    groups.write_text(json.dumps({CASES[0]: "P1", "stranger": "P2"}))
    capsys.readouterr()
    assert benchmark(tmp_path / "new", "-f", "0", "1", "--groups", str(groups)) == 2
    message = capsys.readouterr().err
    assert f"no patient for {', '.join(CASES[1:])} (4)" in message
    assert not (tmp_path / "new").exists()


def test_named_baselines_replace_nnunets_two(planned, tmp_path):
    out = tmp_path / "out"
    finish_runs(planned, out, [0])
    assert benchmark(out, "--baselines", "nnUNetTrainer") == 0
    dice = pd.read_csv(out / "accuracy.csv", keep_default_na=False).set_index("trainer")
    assert set(dice.index) == {"nnUNetTrainer", "SERTrainerNoSAM"}
    assert dice.loc["nnUNetTrainer", "role"].tolist() == ["baseline"] * 2
    assert dice["difference"].tolist()[1] == pytest.approx(3.5 / 8)
    assert (out / "folds.csv").is_file() and "Dice by fold" not in (out / "accuracy.md").read_text()
