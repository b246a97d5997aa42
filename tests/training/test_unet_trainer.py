"""nnU-Net's own network under Muon: what it updates, and that a training goes on as it began."""

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.training.unet_trainer import nnUNetTrainerMuon
from ser_nnunet.utils.model_format import recorded_trainer
from tests.training.teachers import unet_plans

RESIDUAL = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
AROUND = [  # the convolutions of a U-Net of three stages that Muon does not update
    "decoder.seg_layers.0.weight",
    "decoder.seg_layers.1.weight",
    "decoder.transpconvs.0.weight",
    "decoder.transpconvs.1.weight",
]


def architecture(residual):
    planned = unet_plans()["configurations"]["2d"]["architecture"]
    if not residual:
        return planned
    arguments = dict(planned["arch_kwargs"])
    arguments["n_blocks_per_stage"] = arguments.pop("n_conv_per_stage")
    return planned | {"network_class_name": RESIDUAL, "arch_kwargs": arguments}


@pytest.mark.parametrize(("residual", "first"), [(False, "encoder.stages.0.0.convs.0"), (True, "encoder.stem.convs.0")])
def test_muon_updates_the_convolutions_between_the_first_and_those_that_make_the_segmentations(
    make_trainer, residual, first
):
    trainer = make_trainer(nnUNetTrainerMuon, "classes", architecture=architecture(residual))
    assert type(trainer.network).__name__ == ("ResidualEncoderUNet" if residual else "PlainConvUNet")
    by_muon = {id(weight) for weight in trainer.optimizer.param_groups[1]["params"]}
    kernels = {name: each for name, each in trainer.network.named_parameters() if each.ndim == 4}
    assert sorted(name for name, each in kernels.items() if id(each) not in by_muon) == [
        *AROUND,
        f"{first}.conv.weight",
    ]


def test_everything_but_the_optimiser_is_nnunets(make_trainer):
    ours, theirs = (make_trainer(each, architecture=architecture(False)) for each in (nnUNetTrainerMuon, nnUNetTrainer))
    for name in ("num_epochs", "weight_decay", "enable_deep_supervision", "oversample_foreground_percent"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert all(map(torch.equal, ours.network.parameters(), theirs.network.parameters()))


def test_a_resumed_training_takes_the_same_step(make_trainer, tmp_path):
    def step(trainer):
        draw = torch.Generator().manual_seed(1)
        image = torch.randn(4, 1, 32, 32, generator=draw)
        lesion = (torch.rand(4, 1, 32, 32, generator=draw) > 0.8).float()
        trainer.network.train()
        trainer.train_step({"data": image, "target": [lesion, lesion[..., ::2, ::2]]})

    plans = {"architecture": architecture(False)}
    begun = make_trainer(nnUNetTrainerMuon, **plans)
    step(begun)
    begun.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    resumed = make_trainer(nnUNetTrainerMuon, **plans)
    resumed.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    for trainer in (begun, resumed):
        step(trainer)
    assert all(map(torch.equal, begun.network.parameters(), resumed.network.parameters()))


def test_a_prediction_looks_up_nnunets_own_trainer(make_trainer, tmp_path):
    trainer = make_trainer(nnUNetTrainerMuon, architecture=architecture(False))
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    content = torch.load(tmp_path / "checkpoint.pth", weights_only=False)
    assert content["trainer_name"] == "nnUNetTrainer" and recorded_trainer(content) == "nnUNetTrainerMuon"
