"""The phase is a pure function of the epoch."""

import pytest

from ser_nnunet.training.schedule import two_phases


def test_the_papers_schedule_has_200_guided_epochs_of_300():
    schedule = two_phases(300, 2 / 3)
    assert schedule.guided_epochs == 200
    assert [schedule.guided(epoch) for epoch in (0, 199, 200, 299)] == [True, True, False, False]
    assert [schedule.detached(epoch) for epoch in (0, 199, 200, 299)] == [True, True, False, False]


def test_joint_is_guided_throughout_and_never_detached():
    schedule = two_phases(10, 1.0, joint=True)
    assert all(schedule.guided(epoch) and not schedule.detached(epoch) for epoch in range(10))


def test_a_single_epoch_is_guided_in_spite_of_rounding():
    assert two_phases(1, 2 / 3).guided_epochs == 1


def test_without_sam_nothing_is_guided():
    schedule = two_phases(10, 0.0)
    assert not any(schedule.guided(epoch) or schedule.detached(epoch) for epoch in range(10))


@pytest.mark.parametrize("fraction", [-0.1, 1.5])
def test_an_impossible_fraction_is_refused(fraction):
    with pytest.raises(ValueError, match="between 0 and 1"):
        two_phases(10, fraction)
