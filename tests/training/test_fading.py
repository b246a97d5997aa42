"""Guidance by a teacher that stays useless fades; a good one's does not."""

import math
from pathlib import Path

import pytest

from ser_nnunet.nnunet.log import epoch_log
from ser_nnunet.training.fading import fade
from ser_nnunet.training.variants import SERTrainerJoint, SERTrainerTwoPhases
from tests.training.helpers import start_epoch


@pytest.mark.parametrize(
    ("sam", "network", "expected"),
    [
        ([], [], 1),
        ([0.0] * 2, [0.8] * 2, 1),  # the first two of ten epochs are not judged
        ([0.0] * 4, [0.8] * 4, 1 / 4),
        ([0.4] * 10, [0.8] * 10, 1),  # half of the network's Dice
        ([0.0, 0.0, 0.1, 0.1, 0.7, 0.7, 0.7], [0.8] * 7, 1),  # the prompts are learnt late
        ([0.0, 0.0, 0.1, 0.1, 0.1, 0.7], [0.8] * 6, 1 / 4),
        ([0.0] * 100 + [0.7] * 9, [0.8] * 109, 1 / 2),  # it is never lost for good
        ([0.0, 0.0, math.nan, 0.1], [0.8, 0.8, 0.8, math.nan], 1),
    ],
)
def test_the_factor_follows_from_the_log(sam, network, expected):
    assert fade(sam, network, 10) == expected


def test_a_faded_loss_has_no_gradient_left_and_the_log_says_why(make_trainer, make_batch, sam_checkpoint):
    trainer = make_trainer(SERTrainerJoint)
    trainer.num_epochs = 20
    trainer.update_guidance()
    epoch_log(trainer)["mean_fg_dice"] = [0.8] * 13
    start_epoch(trainer, 13)  # SAM's masks had a Dice of 0 in all epochs before
    assert trainer.guidance.fade == 2**-9
    output = trainer.train_step(make_batch())
    assert output["loss"] == pytest.approx(output["loss_dist"], abs=0.01)
    text = Path(trainer.log_file).read_text()
    assert "SAM's masks have a Dice of 0.0000, the network 0.8000: guidance fades" in text


def test_the_papers_phases_never_fade(make_trainer, sam_checkpoint):
    trainer = make_trainer(SERTrainerTwoPhases)
    trainer.update_guidance()
    epoch_log(trainer)["mean_fg_dice"] = [0.8] * 500
    start_epoch(trainer, 500)
    assert trainer.guidance.fade == 1
