"""Muon for convolutions that mix channels, AdamW for the rest; and trainings that began with AdamW alone."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from ser_nnunet.network.ser_net import SERNet
from ser_nnunet.training.muon import UPDATE, MuonAdamW, mixing_convolutions, orthogonalise
from ser_nnunet.training.variants import SERTrainerNoSAM

needs_reference = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon is of torch 2.9")


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def take_steps(optimizer, parameters, count=4):
    """Steps with the same gradients at every call."""
    for step in range(count):
        for index, parameter in enumerate(parameters):
            parameter.grad = draw(*parameter.shape, seed=100 * index + step)
        optimizer.step()


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8)])
def test_orthogonalising_sets_singular_values_to_about_one_and_keeps_the_vectors(shape):
    matrix = draw(*shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    values = left.T @ orthogonalise(matrix) @ right.T
    assert torch.allclose(values, torch.diag(values.diag()), atol=1e-3)
    assert values.diag().min() > 0.65 and values.diag().max() < 1.3


def test_no_gradient_is_no_update():
    assert not orthogonalise(torch.zeros(3, 4)).any()


@needs_reference
@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_matrices_are_updated_as_by_torch(shape):
    """torch computes in bfloat16, of a precision of 0.4 %, and its rate stands for an update of 0.2 times the rate."""
    ours, theirs = (nn.Parameter(draw(*shape)) for _ in range(2))
    take_steps(MuonAdamW([ours], [ours], lr=0.01, weight_decay=0.3), [ours])
    factor = UPDATE / 0.2
    reference = torch.optim.Muon(
        [theirs], lr=0.01 * factor, weight_decay=0.3 / factor, adjust_lr_fn="match_rms_adamw", momentum=0.95
    )
    take_steps(reference, [theirs])
    moved = (theirs - draw(*shape)).abs().mean()
    assert (ours - theirs).abs().max() < 0.05 * moved


def test_a_convolution_is_updated_as_the_matrix_of_its_output_channels():
    kernel, matrix = nn.Parameter(draw(4, 5, 3, 3)), nn.Parameter(draw(4, 5, 3, 3).flatten(1))
    for parameter in (kernel, matrix):
        optimizer = MuonAdamW([parameter], [parameter], lr=0.01, weight_decay=0.0)
        parameter.grad = draw(4, 5, 3, 3, seed=1).reshape(parameter.shape)
        optimizer.step()
    assert torch.allclose(kernel.flatten(1), matrix, atol=1e-6)
    assert torch.equal(kernel.grad, draw(4, 5, 3, 3, seed=1)), "the gradient is still there"


def test_everything_else_is_updated_by_adamw():
    ours, theirs = ([nn.Parameter(draw(6, 4)), nn.Parameter(draw(6))] for _ in range(2))
    take_steps(MuonAdamW(ours, ours[:1], lr=0.01, weight_decay=0.3), ours)
    take_steps(torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.3), theirs)
    assert torch.equal(ours[1], theirs[1]) and not torch.allclose(ours[0], theirs[0], atol=1e-3)


def test_a_resumed_training_takes_the_same_steps():
    whole, parts = (nn.Parameter(draw(4, 6)) for _ in range(2))
    optimizers = [MuonAdamW([weight], [weight], lr=0.01, weight_decay=0.0) for weight in (whole, parts)]
    for optimizer, weight in zip(optimizers, (whole, parts), strict=True):
        take_steps(optimizer, [weight], 2)
    resumed = MuonAdamW([parts], [parts], lr=0.5, weight_decay=0.1)
    resumed.load_state_dict(optimizers[1].state_dict())
    take_steps(optimizers[0], [whole], 2)
    take_steps(resumed, [parts], 2)
    assert torch.equal(whole, parts)


def test_weights_with_the_channels_last_are_updated_alike():
    plain, last = nn.Parameter(draw(4, 6, 3, 3)), nn.Parameter(draw(4, 6, 3, 3).to(memory_format=torch.channels_last))
    for weight in (plain, last):
        take_steps(MuonAdamW([weight], [weight], lr=0.01, weight_decay=0.0), [weight], 2)
    assert torch.allclose(plain, last, atol=1e-6)


@pytest.mark.parametrize("patch", [(32, 32), (16, 32, 32)])
def test_muon_gets_what_mixes_channels_between_the_first_and_the_last_layer(patch):
    network = SERNet(1, 2, patch)
    chosen = {id(weight) for weight in mixing_convolutions(network)}
    names = [name for name, weight in network.named_parameters() if id(weight) in chosen]
    assert "prompt_learner.encoder.stages.0.0.0.weight" not in names, "the first convolution"
    assert not any("last" in name or "upsamplings" in name for name in names)
    assert all(network.get_parameter(name).shape[1] > 1 for name in names), "no depthwise convolution"
    assert {"prompt_learner.encoder.stages.1.0.0.weight", "prompt_learner.head.0.seg_layers.weight"} <= set(names)


def test_schedules_and_groups_of_torch_work_as_with_adamw():
    """A derived trainer may return another schedule, or add parameters of its own."""
    mixed, more = nn.Parameter(draw(4, 6)), nn.Parameter(draw(3))
    optimizer = MuonAdamW([mixed], [mixed], lr=0.01, weight_decay=0.0)
    optimizer.add_param_group({"params": [more], "lr": 0.5})
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10)
    take_steps(copy.deepcopy(optimizer), [mixed, more], 1)
    take_steps(optimizer, [mixed, more], 1)
    assert not torch.equal(more, draw(3)) and not torch.equal(mixed, draw(4, 6))


class WithAdamW(SERTrainerNoSAM):
    muon = False


@pytest.mark.parametrize("continued_by", [WithAdamW, SERTrainerNoSAM])
@pytest.mark.parametrize(("begun_with", "kind"), [(WithAdamW, torch.optim.AdamW), (SERTrainerNoSAM, MuonAdamW)])
def test_a_training_goes_on_with_the_optimiser_that_it_began_with(
    make_trainer, make_batch, tmp_path, begun_with, kind, continued_by
):
    """Trainings of versions before 0.5.0 have AdamW's averages for all parameters in their checkpoints."""
    trainer = make_trainer(begun_with)
    trainer.train_step(make_batch())
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    continued = make_trainer(continued_by, initialize=False)
    continued.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    assert type(continued.optimizer) is kind and continued.lr_scheduler.optimizer is continued.optimizer
    for each in (trainer, continued):
        each.train_step(make_batch())
    for before, after in zip(trainer.network.parameters(), continued.network.parameters(), strict=True):
        assert torch.equal(before, after)
    said = "The checkpoint holds the averages of" in Path(continued.log_file).read_text(encoding="utf-8")
    assert said == (begun_with is not continued_by)


class TwoRates(WithAdamW):
    def configure_optimizers(self):
        optimizer, schedule = super().configure_optimizers()
        more = nn.Parameter(torch.zeros(1))
        optimizer.add_param_group({"params": [more], "lr": 0.5})
        return optimizer, schedule


class TwoRatesToday(TwoRates):
    muon = True


class WithNAdam(SERTrainerNoSAM):
    def configure_optimizers(self):
        optimizer = torch.optim.NAdam(self.network.parameters(), self.initial_lr)
        return optimizer, self.build_lr_scheduler(optimizer)


@pytest.mark.parametrize(("begun_with", "continued_by"), [(TwoRates, TwoRatesToday), (WithNAdam, WithNAdam)])
def test_an_optimiser_of_ones_own_is_continued(make_trainer, make_batch, tmp_path, begun_with, continued_by):
    trainer = make_trainer(begun_with)
    trainer.train_step(make_batch())
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    continued = make_trainer(continued_by, initialize=False)
    continued.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    assert type(continued.optimizer) is type(trainer.optimizer)
    assert len(continued.optimizer.param_groups) == len(trainer.optimizer.param_groups)
    said = "The checkpoint holds the averages of" in Path(continued.log_file).read_text(encoding="utf-8")
    assert said == (begun_with is not continued_by)


def test_an_infinite_gradient_changes_nothing_under_the_gradient_scaler(make_trainer):
    """nnU-Net trains in float16 on a GPU: a step whose gradients overflow is left out."""
    trainer, scaler = make_trainer(SERTrainerNoSAM), torch.amp.GradScaler("cpu")
    before = [parameter.detach().clone() for parameter in trainer.network.parameters()]
    scaler.scale(torch.zeros(()))
    for parameter in trainer.network.parameters():
        parameter.grad = torch.full_like(parameter, torch.inf)
    scaler.unscale_(trainer.optimizer)
    scaler.step(trainer.optimizer)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))
