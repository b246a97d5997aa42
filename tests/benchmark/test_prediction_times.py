"""`ser-nnunet benchmark predict`: whole processes are timed in turn, and their masks compared."""

import shutil

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from ser_nnunet.benchmark import prediction_times
from ser_nnunet.benchmark.prediction_times import Costs, PredictionSettings, commands, compare_masks, run_process
from ser_nnunet.cli import main
from ser_nnunet.commands.benchmark_predict import find_folds
from ser_nnunet.errors import UserError
from ser_nnunet.export.exporter import export_model
from tests.export.model_folders import unet, write_model_folder
from tests.runtime.toy import plan, volume


def test_all_systems_get_the_same_settings(tmp_path):
    model, folders, folds = tmp_path / "model.pyz", {"nnU-Net": tmp_path / "model"}, {"nnU-Net": ("0",)}
    settings = PredictionSettings(tmp_path, model, folders, folds, tmp_path, mirror=False, step=0.8)
    found = {name: " ".join(command) for name, (command, _) in commands(settings, tmp_path).items()}
    assert "-f 0 -device cpu -step_size 0.8" in found["nnU-Net"] and "--disable_tta" in found["nnU-Net"]
    assert "--step 0.8 --tta off" in found["exported file"]


def test_copies_and_unfinished_folds_do_not_predict(tmp_path):
    """nnU-Net ends with a traceback at `-f 0_old` and at a fold without its final checkpoint."""
    folder = write_model_folder(tmp_path / "Trainer__Plans__2d", plan((16, 12), architecture=unet(2, 2, 4)))
    model = export_model(folder, tmp_path / "model.pyz").path
    shutil.copytree(folder / "fold_0", folder / "fold_0_old")
    shutil.copytree(folder / "fold_0", folder / "fold_1")
    (folder / "fold_1/checkpoint_final.pth").rename(folder / "fold_1/checkpoint_latest.pth")
    assert find_folds([folder], model) == [("0",)]


def test_failures_show_what_the_process_said(tmp_path):
    with pytest.raises(UserError, match="no such thing"):
        run_process(["sh", "-c", "echo no such thing; exit 3"], tmp_path / "masks", {}, Costs())


def test_agreement_is_the_part_of_equal_voxels(tmp_path):
    for name, value in (("one", 1), ("other", 0)):
        (tmp_path / name).mkdir()
        mask = np.ones((2, 4, 5), np.uint8)
        mask[0, 0] = value
        sitk.WriteImage(sitk.GetImageFromArray(mask), tmp_path / name / "case.nii.gz")
    assert compare_masks(tmp_path / "one", tmp_path / "other") == pytest.approx(35 / 40)


@pytest.mark.slow
def test_the_table_of_a_small_model(tmp_path, capsys):
    folder = write_model_folder(tmp_path / "Trainer__Plans__2d", plan((16, 12), architecture=unet(2, 2, 4)))
    model = export_model(folder, tmp_path / "model.pyz").path
    (tmp_path / "in").mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(volume()[0]), str(tmp_path / "in/case_0000.nii.gz"))
    command = ["benchmark", "predict", "-i", tmp_path / "in", "-m", model, "--folders", folder, "-o", tmp_path / "out"]
    assert main([*map(str, command), "--rounds", "1", "--threads", "1"]) == 0
    table = pd.read_csv(tmp_path / "out" / "predict.csv").set_index("system")
    assert list(table.index) == ["nnUNetv2_predict, Trainer__Plans__2d", "exported file"]
    assert (table["seconds"] > 0).all() and (table["cpu_seconds"] > 0).all() and (table["peak_bytes"] > 2**20).all()
    assert table["agreement"].min() > 0.999
    assert "| exported file |" in capsys.readouterr().out


def test_missing_inputs_are_named(tmp_path, capsys):
    words = ["-i", "absent", "-m", "absent.pyz", "--folders", str(tmp_path)]
    assert main(["benchmark", "predict", *words, "-o", str(tmp_path)]) == 2
    assert "no such file or folder: absent, absent.pyz" in capsys.readouterr().err


def test_what_is_no_model_is_named_before_anything_is_timed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prediction_times, "run_process", lambda *_: pytest.fail("timed"))
    (tmp_path / "in").mkdir()
    other, text = tmp_path / "other", tmp_path / "model.pyz"
    other.mkdir()
    text.write_text("no model")
    words = ["-i", tmp_path / "in", "-m", text, "--folders", other, tmp_path / "in", "-o", tmp_path / "out"]
    assert main(["benchmark", "predict", *map(str, words)]) == 2
    message = capsys.readouterr().err
    for folder in (other, tmp_path / "in"):
        assert f"{folder}: not a trained model\n" in message and f"{folder / 'plans.json'} is missing" in message
    assert f"{text}: expected a file that `ser-nnunet export` wrote" in message
    assert not (tmp_path / "out").exists()
