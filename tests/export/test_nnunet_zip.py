"""The zip for users of nnU-Net without the plugin: with `ser_nnunet` blocked, the masks are the same."""

import io
import json
import os
import shlex
import subprocess
import sys
import zipfile

import pytest
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from ser_nnunet.cli import main
from ser_nnunet.errors import UserError
from ser_nnunet.export.nnunet_zip import export_to_nnunet
from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, trainers_folder
from ser_nnunet.utils.model_format import MODEL_FORMAT
from tests.export.model_folders import sernet, unet, write_model_folder
from tests.runtime.toy import plan, volume

BLOCKED = """
import json, sys, warnings

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "ser_nnunet":
            raise ModuleNotFoundError(f"blocked: {name}", name=name)

sys.meta_path.insert(0, Blocked())
warnings.simplefilter("ignore")
for command in json.loads(sys.argv[1]):
    sys.argv = command
    if command[0] == "nnUNetv2_predict":
        from nnunetv2.inference.predict_from_raw_data import predict_entry_point as run
    else:
        from nnunetv2.model_sharing.entry_points import install_from_zip_entry_point as run
    run()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("trained") / "SERTrainerNoSAM__nnUNetPlans__2d"
    planned = plan((32, 32), (1.2, 1.2), architecture=sernet((32, 32)))
    write_model_folder(place, planned, "SERTrainerNoSAM", folds=(0, 1))
    for fold in (0, 1):
        file = place / f"fold_{fold}" / "checkpoint_final.pth"
        torch.save({**torch.load(file), "optimizer_state": {"large": torch.zeros(9)}, "logging": {"a": 1}}, file)
    (place / "fold_0" / "debug.json").write_text('{"hostname": "a secret"}')
    return place


@pytest.mark.slow
def test_nnunet_without_the_plugin_predicts_the_same_bytes(folder, tmp_path, capsys, monkeypatch):
    image = sitk.GetImageFromArray(volume((6, 40, 36))[0])
    (tmp_path / "in").mkdir()
    sitk.WriteImage(image, str(tmp_path / "in" / "case_0000.nii.gz"))
    assert main(["export", str(folder), "-o", str(tmp_path / "model.zip"), "--format", "nnunet"]) == 0
    commands = [line for line in capsys.readouterr().out.splitlines() if "nnUNetv2_" in line]
    assert len(commands) == 2
    environment = {**os.environ, "nnUNet_results": str(tmp_path / "results"), "nnUNet_def_n_proc": "1"}
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_extTrainer"):
        environment[name] = str(tmp_path / "absent")
    calls = []
    for command in commands:
        words = shlex.split(command.replace("$nnUNet_results", environment["nnUNet_results"]))
        while "=" in words[0]:
            name, _, environment[name] = words.pop(0).partition("=")
        extra = ["-npp", "0", "-nps", "0", "-device", "cpu"] if words[0] == "nnUNetv2_predict" else []
        calls.append([*({"IMAGES": "in", "MASKS": "out"}.get(word, word) for word in words), *extra])
    line = [sys.executable, "-c", BLOCKED, json.dumps(calls)]
    done = subprocess.run(line, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "reference").mkdir()
    monkeypatch.setenv(EXTERNAL_TRAINERS, str(trainers_folder()))
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False, perform_everything_on_device=False)
    predictor.initialize_from_trained_model_folder(str(folder), (0, 1))
    predictor.predict_from_files_sequential(str(tmp_path / "in"), str(tmp_path / "reference"))
    one, other = ((tmp_path / each / "case.nii.gz").read_bytes() for each in ("out", "reference"))
    assert one == other and sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out/case.nii.gz")).max() > 0


def test_the_zip_holds_what_prediction_reads_and_no_more(folder, tmp_path):
    export_to_nnunet(folder, tmp_path / "model.zip", ["1"])
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    place = "Dataset900_Toy/SERTrainerNoSAM__nnUNetPlans__2d/"
    assert {name.removeprefix(place) for name in parts if "sernet_modules" not in name} == {
        *("plans.json", "dataset.json", "fold_1/checkpoint_final.pth", "SERTrainerNoSAM.py", "model_card.html")
    }
    checkpoint = torch.load(io.BytesIO(parts[f"{place}fold_1/checkpoint_final.pth"]))
    assert sorted(checkpoint)[:2] == ["current_epoch", "inference_allowed_mirroring_axes"]
    assert not {"optimizer_state", "logging"} & set(checkpoint) and checkpoint["trainer_name"] == "SERTrainerNoSAM"
    card = parts[f"{place}model_card.html"]
    assert b"nnUNetv2_install_pretrained_model_from_zip model.zip" in card and b"MODEL.pyz -i IMAGES" not in card
    assert card == (tmp_path / "model.html").read_bytes()
    export_to_nnunet(folder, tmp_path / "again" / "model.zip", ["1"])
    assert (tmp_path / "again" / "model.zip").read_bytes() == (tmp_path / "model.zip").read_bytes()


def test_nnunets_own_networks_need_no_trainer(model_folder, tmp_path):
    lines = []
    export_to_nnunet(model_folder, tmp_path / "model.zip", report=lines.append)
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert not [name for name in archive.namelist() if name.endswith(".py")]
    assert "nnUNet_extTrainer" not in lines[-1] and "-tr nnUNetTrainer -p nnUNetPlans -c 2d -f 0 1" in lines[-1]


def test_a_trainer_of_ones_own_with_sernet_is_not_needed_for_the_export(tmp_path, monkeypatch):
    """The checkpoint names the class that builds the network, and a trainer derived from it in its record."""
    monkeypatch.delenv(EXTERNAL_TRAINERS, raising=False)
    planned = plan((32, 32), architecture=sernet((32, 32)))
    place = write_model_folder(tmp_path / "MyTrainer__nnUNetPlans__2d", planned, "SERTrainerNoSAM")
    file = place / "fold_0" / "checkpoint_final.pth"
    torch.save({**torch.load(file), "ser_nnunet": {"trainer": "MyTrainer", "format": MODEL_FORMAT}}, file)
    assert main(["export", str(place), "-o", str(tmp_path / "model.zip"), "--format", "nnunet"]) == 0
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        names = {name.partition("MyTrainer__nnUNetPlans__2d/")[2] for name in archive.namelist()}
        assert {"MyTrainer.py", "sernet_modules/ser_net.py"} <= names
        checkpoint = archive.read("Dataset900_Toy/MyTrainer__nnUNetPlans__2d/fold_0/checkpoint_final.pth")
    assert torch.load(io.BytesIO(checkpoint))["trainer_name"] == "MyTrainer"


LEAKIER = """
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class Leakier(nnUNetTrainer):
    @staticmethod
    def build_network_architecture(
        plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision=True
    ):
        network = nnUNetTrainer.build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        for layer in network.modules():
            if isinstance(layer, torch.nn.LeakyReLU):
                layer.negative_slope = 0.2
        return network


class AsPlanned(nnUNetTrainer):
    num_epochs = 100
"""


@pytest.fixture
def own_trainers(tmp_path, monkeypatch):
    """Two trainers of a user's own: one changes the network that is planned, the other does not."""
    (tmp_path / "own").mkdir()
    for name in ("Leakier", "AsPlanned"):
        (tmp_path / "own" / f"{name}.py").write_text(LEAKIER)
    monkeypatch.setenv(EXTERNAL_TRAINERS, str(tmp_path / "own"))


def test_a_trainer_from_elsewhere_is_not_needed_for_the_network_that_is_planned(own_trainers, tmp_path):
    planned = plan((16, 12), architecture=unet(2, 2, 4))
    place = write_model_folder(tmp_path / "AsPlanned__nnUNetPlans__2d", planned, "AsPlanned")
    lines = []
    export_to_nnunet(place, tmp_path / "model.zip", report=lines.append)
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert not [name for name in archive.namelist() if name.endswith(".py")]
        checkpoint = archive.read("Dataset900_Toy/AsPlanned__nnUNetPlans__2d/fold_0/checkpoint_final.pth")
    assert torch.load(io.BytesIO(checkpoint))["trainer_name"] == "nnUNetTrainer"
    assert "nnUNet_extTrainer" not in lines[-1] and "-tr AsPlanned -p" in lines[-1]


def test_a_trainer_that_changes_the_planned_network_is_refused(own_trainers, tmp_path):
    """The weights would fit nnU-Net's network, which would predict something else."""
    planned = plan((16, 12), architecture=unet(2, 2, 4))
    place = write_model_folder(tmp_path / "Leakier__nnUNetPlans__2d", planned, "Leakier")
    with pytest.raises(UserError, match=r"Leakier with the network .*PlainConvUNet can't be exported for nnU-Net"):
        export_to_nnunet(place, tmp_path / "model.zip")
    assert not (tmp_path / "model.zip").exists()


def test_networks_that_the_receiver_would_lack_are_refused(tmp_path):
    planned = plan((32, 32), architecture=sernet((32, 32)))
    other = write_model_folder(tmp_path / "model", planned, "nnUNetTrainer")
    with pytest.raises(UserError, match=r"nnUNetTrainer with the network ser_nnunet\.network\.ser_net\.SERNet can't"):
        export_to_nnunet(other, tmp_path / "model.zip")
    assert not (tmp_path / "model.zip").exists()
