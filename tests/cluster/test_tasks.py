"""Waves follow from what tasks need; groups stay together."""

import pytest

from ser_nnunet.cluster.crossval_settings import Resources
from ser_nnunet.cluster.tasks import Task, held_up_by, waves


def task(key, *needs):
    group, _, name = key.partition("/")
    return Task(key, group, name, (), "", Resources(0, 1, 1, 1.0), needs=needs)


LOWRES = [task("lowres/0"), task("lowres/1")]
CASCADE = [task(f"cascade/{fold}", "lowres/0", "lowres/1") for fold in range(2)]
BEST = task("best/x", "cascade/0", "cascade/1")


def keys(found):
    return [[[each.key for each in group] for group in wave] for wave in found]


def test_the_second_stage_comes_after_all_folds_of_the_first():
    found = waves([BEST, *CASCADE, *LOWRES])
    assert keys(found) == [[["lowres/0", "lowres/1"]], [["cascade/0", "cascade/1"]], [["best/x"]]]


def test_what_is_done_is_not_waited_for():
    assert keys(waves([CASCADE[1], BEST], {"lowres/0", "lowres/1", "cascade/0"})) == [[["cascade/1"]], [["best/x"]]]


def test_tasks_that_can_never_start_are_named():
    with pytest.raises(ValueError, match="cascade, best"):
        waves([*CASCADE, BEST])


def test_a_failed_fold_holds_up_what_needs_it_through_others():
    tasks = {each.key: each for each in [*LOWRES, *CASCADE, BEST]}
    assert held_up_by(BEST, tasks, {"lowres/1"}) == ["lowres/1"]
    assert held_up_by(CASCADE[0], tasks, {"cascade/1"}) == []
