"""nnU-Net's own commands with SER's trainers: train, validate, predict without SAM, resume after kill -9."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from tests.end_to_end.conftest import IDS, LABELS
from tests.nnunet_raw import volume
from tests.nnunet_workplace import CommandError, trained_epochs

pytestmark = pytest.mark.slow

# Found by Python at start-up; makes segment_anything unimportable, as where it isn't installed.
WITHOUT_SAM = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "segment_anything":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
print("SAM CANNOT BE IMPORTED")
"""


@pytest.fixture(scope="module", params=LABELS)
def trained(request, workplace):
    """Each kind of labels, trained through both phases and validated by nnU-Net."""
    output = workplace.run("nnUNetv2_train", IDS[request.param], "2d", 0, "-tr", "TinySER", "-device", "cpu")
    return request.param, workplace.model(IDS[request.param], "TinySER"), output


def test_training_passes_both_phases_and_validates(trained):
    _, model, output = trained
    assert "SAM guides epochs 0 to 1 of 4" in output
    assert "SAM guides no further: it was released from memory" in output
    assert output.count("Dice of SAM's masks") == 2 and output.count("SAM is off") == 2
    summary = json.loads((model / "fold_0/validation/summary.json").read_text())
    assert len(summary["mean"]) == 2 and len(summary["metric_per_case"]) >= 1


def test_the_checkpoint_holds_both_losses_and_nothing_of_sam(trained):
    _, model, _ = trained
    checkpoint = torch.load(model / "fold_0/checkpoint_final.pth", weights_only=False)
    for key in ("train_losses_seg", "train_losses_dist", "guided_dice"):
        values = checkpoint["logging"][key]
        assert len(values) == 4 and np.isfinite(values[:2]).all()
    parts = {key.split(".")[0] for key in checkpoint["network_weights"]}
    assert parts == {"prompt_learner", "aggregator"}, "nothing of SAM"


def test_the_plans_beside_the_folds_hold_the_models_record(trained):
    _, model, output = trained
    record = json.loads((model / "plans.json").read_text())["ser_nnunet"]
    assert record["trainer"] == "TinySER" and record["readme"] == (model / "SERNET.md").read_text().splitlines()
    assert "'readme'" not in output, "nnU-Net prints the plans in one line"


def test_prediction_needs_no_sam(trained, workplace, tmp_path):
    kind, _, _ = trained
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_SAM)
    images = workplace.dataset("raw", IDS[kind]) / "imagesTs"
    arguments = ("-i", images, "-o", tmp_path / "out", "-d", IDS[kind], "-c", "2d", "-f", 0)
    settings = ("-tr", "TinySER", "-device", "cpu", "-npp", 0, "-nps", 0)
    environment = {"PYTHONPATH": str(tmp_path), "SER_SAM_CHECKPOINT": "/nowhere.pth"}
    output = workplace.run("nnUNetv2_predict", *arguments, *settings, **environment)
    assert "SAM CANNOT BE IMPORTED" in output
    predicted = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out/new.nii.gz"))
    assert predicted.shape == volume(99)[1].shape
    assert set(np.unique(predicted)) <= {0, 1, 2}, "the ignore label is never predicted"


@pytest.mark.parametrize(
    ("configuration", "epoch", "phase"),
    [
        ("2d", 1, "detached True SAM True"),
        ("2d", 3, "detached False SAM False"),
        ("3d_fullres", 1, "detached True SAM True"),
        ("3d_fullres", 3, "detached False SAM False"),
    ],
)
def test_a_killed_training_resumes_in_its_phase(workplace, configuration, epoch, phase):
    """Killed in the guided phase (epoch 1 of 0-3) and after it (epoch 3); `--c` resumes there."""
    arguments = ("nnUNetv2_train", IDS["classes"], configuration, epoch, "-tr", "TinySERResumed", "-device", "cpu")
    workplace.kill_in_epoch(epoch, *arguments)
    output = workplace.run(*arguments, "--c")
    assert trained_epochs(output) == list(range(epoch, 4))
    first_phase = next(line for line in output.splitlines() if "detached" in line)
    assert phase in first_phase
    assert "Mean Validation Dice" in output


def test_a_missing_checkpoint_stops_before_the_first_epoch(workplace):
    arguments = ("nnUNetv2_train", IDS["classes"], "2d", 2, "-tr", "TinySER", "-device", "cpu")
    with pytest.raises(CommandError) as failure:
        workplace.run(*arguments, SER_SAM_CHECKPOINT="")
    output = str(failure.value)
    assert "Epoch 0" not in output
    last = output.strip().splitlines()[-1]
    assert "SER_SAM_CHECKPOINT isn't set" in last and "-tr SERTrainerNoSAM" in last and "https://" in last
