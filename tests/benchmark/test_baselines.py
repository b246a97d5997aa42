"""The better baseline comes first, whatever the order in which trainers are named."""

import math

from ser_nnunet.benchmark.baselines import describe_choice, mark_trainers, note_small_maps, rank_trainers
from tests.benchmark.tiny_dataset import tiny_configuration, tiny_plans


def test_the_baseline_with_the_higher_dice_is_the_first_and_both_are_marked():
    dice = {"SGD": 0.7, "Adam": 0.8, "SER": 0.9}
    roles = rank_trainers(dice, ["SGD", "Adam"])
    assert list(roles.items()) == [("Adam", "better baseline"), ("SGD", "other baseline"), ("SER", "")]
    assert mark_trainers(["SER", "Adam"], roles) == ["SER", "Adam (better baseline)"]
    text = describe_choice(roles)
    assert "The baseline is Adam" in text and "Adam, SGD" in text and "higher mean Dice" in text


def test_without_a_better_one_the_first_is_taken():
    assert list(rank_trainers({"A": 0.5, "B": 0.5}, ["A", "B"])) == ["A", "B"]
    assert list(rank_trainers({"A": math.nan, "B": 0.0}, ["A", "B"])) == ["B", "A"]
    assert list(rank_trainers({"A": math.nan, "B": math.nan}, ["A", "B"])) == ["A", "B"]


def test_one_baseline_is_the_reference_however_bad_it_is():
    roles = rank_trainers({"A": 0.9, "B": 0.1}, ["B"])
    assert list(roles.items()) == [("B", "baseline"), ("A", "")]
    assert describe_choice(roles) == "**The baseline is B**."


def test_a_patch_that_is_too_small_for_its_u_net_is_noted():
    assert note_small_maps(tiny_configuration(tiny_plans(patch=(32, 16)))) == []
    (note,) = note_small_maps(tiny_configuration(tiny_plans(patch=(32, 8))))
    assert "32 x 8 ends in a feature map of 8 x 2" in note


def test_an_axis_that_is_never_pooled_may_be_short():
    plans = tiny_plans(patch=(3, 32))
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["strides"] = [[1, 1], [1, 2], [1, 2]]
    assert note_small_maps(tiny_configuration(plans)) == []
