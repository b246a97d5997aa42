"""The decay of the learning rate: nnU-Net's own, once per phase."""

import pytest
import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

from ser_nnunet.training.learning_rate import PhasedPolyLRScheduler
from ser_nnunet.training.paper import SERTrainerPaper
from ser_nnunet.training.variants import SERTrainerJoint, SERTrainerNoSAM, SERTrainerTwoPhases
from tests.training.helpers import start_epoch


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.01)


def rates(scheduler, epochs):
    found = []
    for epoch in epochs:
        scheduler.step(epoch)
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        assert set(scheduler.get_last_lr()) == {found[-1]}
    return found


def test_each_phase_decays_as_nnunet_decays_over_as_many_epochs():
    phased = rates(PhasedPolyLRScheduler(optimizer(), 0.01, 30, restart=20), range(30))
    first = rates(PolyLRScheduler(optimizer(), 0.01, 20), range(20))
    second = rates(PolyLRScheduler(optimizer(), 0.01, 10), range(10))
    assert phased == first + second


@pytest.mark.parametrize("restart", [0, 30])
def test_without_a_restart_it_is_nnunets_own(restart):
    phased = rates(PhasedPolyLRScheduler(optimizer(), 0.01, 30, restart), range(30))
    assert phased == rates(PolyLRScheduler(optimizer(), 0.01, 30), range(30))
    assert rates(PhasedPolyLRScheduler(optimizer(), 0.01, 30, restart), [30]) == [0]


def test_a_resumed_training_needs_the_epoch_alone():
    whole = rates(PhasedPolyLRScheduler(optimizer(), 0.01, 30, restart=20), range(30))
    resumed = PhasedPolyLRScheduler(optimizer(), 0.01, 30, restart=20)
    assert rates(resumed, [25, 3]) == [whole[25], whole[3]]


class JointAtFirst(SERTrainerJoint):
    """L_dist trains the prompt learner all the time: nothing restarts when SAM is released."""

    guided_fraction = 0.5


def test_without_a_change_of_losses_the_rate_keeps_falling(make_trainer):
    trainer = make_trainer(JointAtFirst)
    before, after = rates(trainer.lr_scheduler, [499, 500])
    assert after < before < trainer.initial_lr


@pytest.mark.parametrize(("trainer_class", "cleared"), [(SERTrainerTwoPhases, True), (JointAtFirst, False)])
def test_the_optimisers_averages_are_cleared_when_the_losses_change(
    make_trainer, sam_checkpoint, trainer_class, cleared
):
    """Not its parameters, and in the phase's first epoch alone: a resumed training keeps its averages."""
    trainer = make_trainer(trainer_class)
    trainer.guided_fraction, trainer.num_epochs = 0.5, 10
    for epoch in range(4, 7):
        for parameter in trainer.network.parameters():
            parameter.grad = torch.ones_like(parameter)
        trainer.optimizer.step()
        start_epoch(trainer, epoch)
        assert bool(trainer.optimizer.state) == (not cleared or epoch != 5)
    optimised = sum(len(group["params"]) for group in trainer.optimizer.param_groups)
    assert optimised == len(list(trainer.network.parameters()))


@pytest.mark.parametrize(
    ("trainer_class", "restart"),
    [(SERTrainerTwoPhases, 666), (SERTrainerPaper, 200), (SERTrainerJoint, 0), (SERTrainerNoSAM, 0)],
)
def test_the_rate_restarts_where_another_loss_trains_the_prompt_learner(make_trainer, trainer_class, restart):
    trainer = make_trainer(trainer_class)
    assert rates(trainer.lr_scheduler, [0, restart]) == [trainer.initial_lr, trainer.initial_lr]
    before, after = rates(trainer.lr_scheduler, [restart + 1, trainer.num_epochs - 1])
    assert after < before < trainer.initial_lr
