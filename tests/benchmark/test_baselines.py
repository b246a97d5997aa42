"""The better baseline comes first, whatever the order in which trainers are named."""

import math

from ser_nnunet.benchmark.baselines import describe_choice, mark_trainers, rank_trainers


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
