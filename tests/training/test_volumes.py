"""3D configurations as nnU-Net plans them: training, resuming, validation, prediction and sharing, in one process."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    nnUNetPlannerResEncL,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.model_sharing.model_export import export_pretrained_model
from nnunetv2.model_sharing.model_import import install_model_from_zip_file
from nnunetv2.run.run_training import maybe_load_checkpoint

from ser_nnunet.nnunet.log import epoch_log
from ser_nnunet.nnunet.trainers import trainers_folder
from ser_nnunet.training.semi_trainer import SERTrainerSemiNoSAM
from ser_nnunet.utils.model_format import MODEL_FORMAT
from tests.training.planned_volumes import (
    CLASSES,
    DATASET,
    REGIONS_AND_IGNORE,
    PlannedVolumes,
    read_masks,
    threads_for_processes,
)

pytestmark = pytest.mark.slow

COARSE = {
    "inherits_from": "3d_fullres",
    "data_identifier": "nnUNetPlans_3d_lowres",
    "spacing": [2.0, 2.0, 2.0],
    "patch_size": [8, 12, 10],
    "next_stage": "3d_cascade_fullres",
}
CASCADE = {
    "3d_lowres": COARSE,
    "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
}
KINDS = {
    "anisotropic, two channels": {
        "labels": CLASSES,
        "channels": 2,
        "shape": (6, 40, 32),
        "spacing": (5.0, 1.0, 1.0),
    },
    "regions, ignore label, ResEnc plans": {"labels": REGIONS_AND_IGNORE, "planner": nnUNetPlannerResEncL},
    "cascade": {"labels": CLASSES, "further": CASCADE},
}


@pytest.fixture
def make_volumes(tmp_path, monkeypatch):
    """Plan and preprocess a kind of data set below `tmp_path`."""
    threads_for_processes(monkeypatch)
    for kind in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{kind}", str(tmp_path / kind))
    monkeypatch.setenv("nnUNet_extTrainer", str(trainers_folder()))

    def make(kind):
        monkeypatch.setenv("nnUNet_n_proc_DA", "1")  # nnU-Net's planner fails with 0
        volumes = PlannedVolumes(tmp_path, **KINDS[kind])
        monkeypatch.setenv("nnUNet_n_proc_DA", "0")
        return volumes

    return make


def untie(trainer):
    """Let the untrained network predict all classes: in two steps, its bias towards background stays."""
    torch.manual_seed(0)
    trainer.initialize()
    with torch.no_grad():
        trainer.ser_net.get_parameter("aggregator.last.seg_layers.bias").zero_()
    return trainer


def train(trainer):
    """As nnUNetv2_train does: all epochs and nnU-Net's validation; return the validation's masks by case."""
    trainer.run_training()
    return validate(trainer)


def validate(trainer):
    trainer.perform_actual_validation(False)
    folder = Path(trainer.output_folder) / "validation"
    assert len(json.loads((folder / "summary.json").read_text())["mean"]) == 2
    return read_masks(folder)


class Killed(BaseException):
    """What stops a training in a test."""


class TestAnisotropicVolumes:
    """Slices of 5 mm, two channels, and two classes, through everything that follows a training that was killed."""

    @pytest.fixture
    def volumes(self, make_volumes):
        return make_volumes("anisotropic, two channels")

    def kill(self, trainer, monkeypatch, epoch):
        """Train until an epoch begins."""
        start = type(trainer).on_train_epoch_start

        def start_or_die(self):
            if self.current_epoch == epoch:
                raise Killed
            start(self)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(type(trainer), "on_train_epoch_start", start_or_die)
            trainer.run_training()
        trainer.release_folder()  # as the end of the process does

    def test_the_model_is_the_same_after_resuming_sharing_and_predicting_in_parts(self, volumes, monkeypatch, tmp_path):
        killed = untie(volumes.trainer())
        killed.save_every = 1
        self.kill(killed, monkeypatch, epoch=1)
        assert "do_dummy_2d_data_aug: True" in Path(killed.log_file).read_text()
        resumed = volumes.trainer(resumed=True)
        maybe_load_checkpoint(resumed, True, False)
        assert resumed.current_epoch == 1
        for name, tensor in resumed.network.state_dict().items():
            assert torch.equal(tensor, killed.network.state_dict()[name]), name
        masks = train(resumed)
        assert [len(epoch_log(resumed)[key]) for key in ("train_losses", "train_losses_dist", "mean_fg_dice")] == [
            2,
            2,
            2,
        ]
        assert list(masks) == ["case_3"] and len(np.unique(masks["case_3"])) > 1

        export_pretrained_model(DATASET, str(tmp_path / "model.zip"), ("3d_fullres",), "SERTrainerNoSAM", folds=(0,))
        monkeypatch.setenv("nnUNet_results", str(tmp_path / "elsewhere"))
        install_model_from_zip_file(str(tmp_path / "model.zip"))
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        model = tmp_path / "elsewhere" / DATASET / "SERTrainerNoSAM__nnUNetPlans__3d_fullres"
        predictor.initialize_from_trained_model_folder(str(model), (0,), "checkpoint_final.pth")
        assert predictor.allowed_mirroring_axes == (0, 1, 2)
        found = {}
        for part, cases in enumerate([["case_0", "case_2"], ["case_1", "case_3"]]):
            target = tmp_path / f"part_{part}"
            predictor.predict_from_files(
                str(volumes.raw / "imagesTr"), str(target), num_parts=2, part_id=part, overwrite=True
            )
            assert sorted(read_masks(target)) == cases
            found |= read_masks(target)
        assert (found["case_3"] == masks["case_3"]).all(), "the validation's mask of the same image"

    def test_val_best_takes_the_weights_of_the_best_epoch(self, volumes):
        trainer = untie(volumes.trainer(epochs=1))
        trainer.run_training()
        best = torch.load(Path(trainer.output_folder) / "checkpoint_best.pth", weights_only=True)["network_weights"]
        with torch.no_grad():
            for parameter in trainer.network.parameters():
                parameter.zero_()
        trainer.load_checkpoint(f"{trainer.output_folder}/checkpoint_best.pth")  # as nnUNetv2_train --val_best
        assert all(torch.equal(tensor, best[name]) for name, tensor in trainer.network.state_dict().items())
        assert len(np.unique(validate(trainer)["case_3"])) > 1


def test_regions_with_an_ignore_label_and_resenc_plans_on_all_cases(make_volumes):
    volumes = make_volumes("regions, ignore label, ResEnc plans")
    trainer = untie(volumes.trainer(fold="all", epochs=1))
    masks = train(trainer)
    assert trainer.plans_manager.plans_name == "nnUNetResEncUNetLPlans"
    assert list(masks) == volumes.cases
    assert {*np.unique(list(masks.values()))} <= {0, 1, 2}, "the ignore label is never predicted"
    assert all(mask.shape == volumes.shape for mask in masks.values())


def test_slices_without_annotation_get_pseudo_labels_in_3d_with_regions(make_volumes):
    """Half of every volume's slices have no label."""
    volumes = make_volumes("regions, ignore label, ResEnc plans")
    semi = type("Semi", (SERTrainerSemiNoSAM,), {"rounds": (0.5,), "confidence": 0.5})
    trainer = untie(volumes.trainer(trainer_class=semi, epochs=2))
    trainer.current_epoch = 1
    trainer.on_train_start()
    data = trainer.dataloader_train.data_loader._data
    for case in volumes.cases[:3]:
        _, label = volumes.volume(int(case[-1]))
        filled = np.asarray(data.load_case(case)[1][:])[0]
        assert np.array_equal(filled[1::2], label[1::2]), "annotation is kept"
        assert {*np.unique(filled[::2])} <= {0, 1, 2} and len(np.unique(filled[::2])) > 1
    assert not next(trainer.dataloader_train)["target"][:, -1].any(), "nothing is ignored any more"
    trainer.on_train_epoch_start()
    assert np.isfinite(trainer.train_step(next(trainer.dataloader_train))["loss"])


def test_pseudo_labels_are_refused_in_the_cascade_s_second_stage(make_volumes):
    volumes = make_volumes("cascade")
    volumes.dataset_json["labels"]["ignore"] = 3
    with pytest.raises(ValueError, match="a cascade's second stage is not supported: train 3d_lowres"):
        volumes.trainer("3d_cascade_fullres", trainer_class=SERTrainerSemiNoSAM).initialize()


def test_a_cascade_of_an_earlier_format_stays_readable_by_the_versions_of_that_format(make_volumes):
    """0.4.0 and 0.5.0 refuse plans with `image_channels`, which format 4 added."""
    volumes = make_volumes("cascade")
    trainer = volumes.trainer("3d_cascade_fullres", epochs=1)
    for format_of_file, named in ((MODEL_FORMAT, True), (3, False)):
        trainer.keep_format(format_of_file)
        saved = trainer.plans_manager.plans["configurations"]["3d_cascade_fullres"]["architecture"]["arch_kwargs"]
        assert saved["model_format"] == format_of_file and ("image_channels" in saved) == named


def test_the_cascade_trains_on_the_masks_of_the_low_resolution(make_volumes):
    volumes = make_volumes("cascade")
    low = untie(volumes.trainer("3d_lowres", "all", epochs=1))
    low_masks = train(low)
    high = untie(volumes.trainer("3d_cascade_fullres", epochs=1))
    assert high.num_input_channels == 1 + 2, "the image, and the earlier mask of each class"
    assert high.ser_net.prompt_learner.patch_norm.num_channels == 1, "the masks stay 0 and 1"
    masks = train(high)
    assert len(np.unique(masks["case_3"])) > 1

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    managers = high.plans_manager, high.configuration_manager
    weights = [high.network.state_dict()]
    predictor.manual_initialization(high.network, *managers, weights, high.dataset_json, "SERTrainerNoSAM", (0, 1, 2))
    images, target, low_folder = (
        volumes.raw / "imagesTr",
        volumes.folder / "out",
        Path(low.output_folder) / "validation",
    )
    target.mkdir()
    predictor.predict_from_files_sequential(str(images), str(target), folder_with_segs_from_prev_stage=str(low_folder))
    assert list(read_masks(target)) == list(low_masks) == volumes.cases
    assert all(mask.shape == volumes.shape for mask in read_masks(target).values())
