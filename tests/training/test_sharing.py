"""A model on another computer: the package alone predicts with it, it says what it needs, other formats are refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet import __version__
from ser_nnunet.errors import UserError
from ser_nnunet.network.ser_net import SERNet, architecture
from ser_nnunet.nnunet.trained_model import read_trained_model
from ser_nnunet.training.variants import SERTrainerNoSAM
from ser_nnunet.utils.model_format import MODEL_FORMAT, RECORD

PREDICT = """
import sys, numpy as np, torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
for folder in sys.argv[1:]:
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(folder, (0,), "checkpoint_final.pth")
    image = torch.from_numpy(np.load(folder + "/image.npy"))
    np.save(folder + "/logits.npy", predictor.predict_logits_from_preprocessed_data(image).numpy())
print([name for name in sys.modules if name.startswith(("ser_nnunet.training", "segment_anything"))])
"""


class OnlyHere(SERTrainerNoSAM):
    """A user's trainer, which a colleague doesn't have."""

    initial_lr = 1e-3


class OwnNetwork(SERTrainerNoSAM):
    """A user's trainer whose network is not the one that the plans name."""

    @staticmethod
    def build_network_architecture(plans_manager, *arguments, **settings):
        return nnUNetTrainer.build_network_architecture(plans_manager, *arguments, **settings)


@pytest.fixture
def train(make_trainer, monkeypatch):
    """Write a model folder as a training does, with other weights than the initial ones; return trainer and folder."""

    def save_plans(trainer):
        trainer.print_plans()
        for name in ("plans", "dataset"):
            content = trainer.plans_manager.plans if name == "plans" else trainer.dataset_json
            (Path(trainer.output_folder_base) / f"{name}.json").write_text(json.dumps(content))

    monkeypatch.setattr(nnUNetTrainer, "on_train_start", save_plans)

    def write(trainer_class):
        trainer = make_trainer(trainer_class)
        trainer.on_train_start()
        with torch.no_grad():
            for parameter in trainer.network.parameters():
                parameter.add_(torch.rand_like(parameter) * 0.1)
        trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
        trainer.release_folder()
        return trainer, Path(trainer.output_folder_base)

    return write


def test_a_prediction_needs_the_package_and_no_trainer(train):
    image = torch.randn(1, 3, 40, 50)
    folders, expected = [], []
    for trainer_class in (SERTrainerNoSAM, OnlyHere):
        trainer, folder = train(trainer_class)
        np.save(folder / "image.npy", image.numpy())
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        managers = trainer.plans_manager, trainer.configuration_manager
        weights = [trainer.network.state_dict()]
        axes = trainer.inference_allowed_mirroring_axes
        predictor.manual_initialization(trainer.network.eval(), *managers, weights, trainer.dataset_json, "", axes)
        expected.append(predictor.predict_logits_from_preprocessed_data(image).numpy())
        folders.append(str(folder))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("nnUNet", "SER_"))}
    command = [sys.executable, "-W", "ignore", "-c", PREDICT, *folders]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]", "neither a trainer nor SAM was imported"
    for folder, logits in zip(folders, expected, strict=True):
        assert np.load(f"{folder}/logits.npy").tobytes() == logits.tobytes()


def test_the_folder_says_what_it_needs(train):
    _, folder = train(OnlyHere)
    text = (folder / "SERNET.md").read_text()
    assert text == (folder / "fold_0" / "SERNET.md").read_text(), "nnU-Net's zip takes it with -chk"
    assert f"pip install ser-nnunet=={__version__}" in text and "-tr OnlyHere" in text
    assert "nnUNetv2_predict_from_modelfolder" in text and "no `nnUNet_extTrainer`" in text
    assert "FLAIR" in text and "lesion" in text and "10.1016/j.patrec.2025.11.018" in text and "not a medical" in text
    plans = json.loads((folder / "plans.json").read_text())
    assert plans[RECORD]["version"] == __version__ and plans[RECORD]["readme"] == text.splitlines()
    log = next((folder / "fold_0").glob("training_log_*.txt")).read_text()
    assert "global plan.json settings" in log and "'readme'" not in log, "nnU-Net prints the plans in one line"


def test_the_checkpoint_says_which_code_trained_it(train):
    _, folder = train(OnlyHere)
    content = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=True)
    record = content[RECORD]
    assert (record["version"], record["format"], record["trainer"]) == (__version__, MODEL_FORMAT, "OnlyHere")
    assert set(record["versions"]) == {"nnunetv2", "torch", "numpy"}
    assert read_trained_model(folder, 0).trainer == "OnlyHere"


def test_a_trainer_that_builds_its_own_network_is_looked_up_and_the_folder_says_so(train):
    _, folder = train(OwnNetwork)
    content = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=True)
    assert content["trainer_name"] == "OwnNetwork"
    text = (folder / "SERNET.md").read_text()
    assert "the trainer OwnNetwork, which builds the network itself" in text and "no `nnUNet_extTrainer`" not in text


def test_training_goes_on_from_its_own_checkpoint(train, make_trainer):
    trainer, folder = train(OnlyHere)
    resumed = make_trainer(OnlyHere)
    resumed.load_checkpoint(str(folder / "fold_0" / "checkpoint_final.pth"))
    for own, loaded in zip(trainer.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(own, loaded)


PLANS = {2: {"patch": (32, 32)}, 3: {"patch": (8, 16, 16), "configuration": "3d_fullres"}}


@pytest.fixture
def train_format(train, make_trainer):
    """Write a model folder as `train` does, in 2D or 3D and in a model format; return trainer and folder."""

    def write(dimension, model_format, fold=0):
        trainer = make_trainer(SERTrainerNoSAM, initialize=False, fold=fold, **PLANS[dimension])
        trainer.keep_format(model_format)
        trainer.initialize()
        trainer.on_train_start()
        trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
        trainer.release_folder()
        return trainer, Path(trainer.output_folder_base)

    return write


def predict_zeros(dimension, folder, *folds):
    """Return a prediction's logits, by the network that the folder's plans.json names."""
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), folds, "checkpoint_final.pth")
    patch = PLANS[dimension]["patch"]
    return predictor.predict_logits_from_preprocessed_data(torch.zeros(1, *(1,) * (3 - len(patch)), *patch))


# what 0.3.0 and 0.5.0 wrote, and why their weights don't fit today's network
EARLIER = pytest.mark.parametrize(
    ("dimension", "model_format", "misfit"),
    [(2, 2, "missing .prompt_learner.patch_norm"), (3, 2, "of another shape"), (3, 3, "missing .prompt_learner.patch")],
)


@EARLIER
def test_a_training_of_an_earlier_format_goes_on_with_its_network(
    train_format, make_trainer, dimension, model_format, misfit
):
    """The plans and checkpoints that are written then describe that network."""
    _, folder = train_format(dimension, model_format)
    resumed = make_trainer(SERTrainerNoSAM, initialize=False, **PLANS[dimension])
    resumed.load_checkpoint(str(folder / "fold_0" / "checkpoint_final.pth"))
    resumed.on_train_start()
    resumed.save_checkpoint(str(folder / "fold_0" / "checkpoint_final.pth"))
    content = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=True)
    planned = json.loads((folder / "plans.json").read_text())
    assert content[RECORD]["format"] == planned[RECORD]["format"] == model_format
    assert predict_zeros(dimension, folder, 0).isfinite().all()
    with pytest.raises(UserError, match=misfit):
        make_trainer(SERTrainerNoSAM, **PLANS[dimension]).network.load_state_dict(content["network_weights"])


@EARLIER
def test_folds_beside_those_of_an_earlier_format_get_their_network(
    train_format, capsys, dimension, model_format, misfit
):
    """nnU-Net keeps one plans.json for all folds, and predicts with their mean."""
    _, folder = train_format(dimension, model_format)
    _, again = train_format(dimension, None, fold=1)
    assert again == folder and f"was begun in the model format {model_format}" in capsys.readouterr().out
    assert predict_zeros(dimension, folder, 0, 1).isfinite().all()


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_new_model_has_todays_network(train_format, dimension):
    trainer, folder = train_format(dimension, None)
    assert json.loads((folder / "plans.json").read_text())[RECORD]["format"] == MODEL_FORMAT
    for fold in (0, 1):  # a fold that is trained anew, and one beside it
        other, _ = train_format(dimension, None, fold=fold)
        for own, found in zip(trainer.network.parameters(), other.network.parameters(), strict=True):
            assert own.shape == found.shape


class TestOtherFormats:
    """A model of another format is refused in one sentence that names both versions."""

    @pytest.mark.parametrize(
        ("record", "expected"),
        [
            (
                {"format": 1, "version": "0.1.0"},
                "format 1 of ser-nnunet 0.1.0.*pip install ser-nnunet==0.1.0, or train",
            ),
            ({"format": 99, "version": "7.0.0"}, "format 99 of ser-nnunet 7.0.0.*pip install ser-nnunet==7.0.0"),
            ({"format": 99, "version": "7; rm -rf x"}, "format 99, and .* from a later version: pip install --upgrade"),
            ({"format": 99}, "format 99, and ser-nnunet .* from a later version: pip install --upgrade"),
        ],
    )
    def test_when_a_training_is_resumed_validated_or_exported(self, train, make_trainer, record, expected):
        _, folder = train(SERTrainerNoSAM)
        file = folder / "fold_0" / "checkpoint_final.pth"
        torch.save(torch.load(file, weights_only=True) | {RECORD: record}, file)
        with pytest.raises(UserError, match=expected):
            make_trainer(SERTrainerNoSAM).load_checkpoint(str(file))
        with pytest.raises(UserError, match=expected):
            read_trained_model(folder, 0)

    def test_when_nnunet_builds_the_network_that_the_plans_name(self):
        settings = architecture((32, 32), [], 1, "light")["arch_kwargs"]
        assert SERNet(1, 2, **settings)
        assert SERNet(1, 2, **{key: value for key, value in settings.items() if key != "model_format"})
        with pytest.raises(UserError, match=r"network SERNet has the model format 99, .* from a later version"):
            SERNet(1, 2, **settings | {"model_format": 99})
        with pytest.raises(UserError, match=r"settings that ser-nnunet .* doesn't know \(halo\).*later version"):
            SERNet(1, 2, **settings, halo=3)

    def test_weights_that_do_not_fit_are_counted_in_one_sentence(self):
        network = SERNet(1, 2, (32, 32))
        weights = network.state_dict()
        first = next(name for name, weight in weights.items() if weight.ndim == 4)
        weights["halo.weight"] = weights[first]
        weights[first] = weights[first][:1]
        del weights["aggregator.last.seg_layers.bias"]
        with pytest.raises(UserError) as refused:
            network.load_state_dict(weights)
        message = str(refused.value)
        assert "1 missing (aggregator.last.bias, ...); 1 unknown (halo.weight, ...); 1 of another shape (" in message
        assert "\n" not in message and len(message) < 600

    def test_the_first_versions_network_is_recognised(self):
        network = SERNet(1, 2, (32, 32))
        weights = network.state_dict() | {"aggregator.upsample.weight": torch.zeros(1)}
        with pytest.raises(UserError, match=r"of ser-nnunet 0\.1\.0: pip install ser-nnunet==0\.1\.0"):
            network.load_state_dict(weights)


def test_a_training_that_cannot_begin_leaves_no_folder(make_trainer, tmp_path, monkeypatch):
    monkeypatch.delenv("SER_SAM_CHECKPOINT", raising=False)
    trainer = make_trainer(initialize=False)
    assert Path(trainer.log_file).is_file(), "nnU-Net writes its log first"
    with pytest.raises(UserError, match="SER_SAM_CHECKPOINT isn't set"):
        trainer.run_training()
    assert list((tmp_path / "nnUNet_results").iterdir()) == []


def test_a_training_that_cannot_begin_keeps_what_earlier_ones_left(make_trainer, monkeypatch):
    monkeypatch.delenv("SER_SAM_CHECKPOINT", raising=False)
    trainer = make_trainer(initialize=False)
    checkpoint = Path(trainer.output_folder) / "checkpoint_best.pth"
    checkpoint.write_bytes(b"earlier")
    with pytest.raises(UserError, match="SER_SAM_CHECKPOINT isn't set"):
        trainer.run_training()
    assert checkpoint.read_bytes() == b"earlier" and Path(trainer.log_file).is_file()
