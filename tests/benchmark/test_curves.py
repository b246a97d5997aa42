"""Learning curves, and when one reaches another."""

import math

import pytest

from ser_nnunet.benchmark.curves import count_iterations_to_reach, draw_curves, read_curves
from tests.benchmark.finished_runs import write_curve


def test_iterations_to_reach_the_baselines_last_smoothed_dice(tmp_path):
    runs = [write_curve(tmp_path, "slow", [0.1 * n for n in range(10)]), write_curve(tmp_path, "fast", [0.8] * 10)]
    curves = read_curves(runs)
    # The last five of "slow": 0.5 to 0.9, 0.7 on average; "fast" is above that after its first ten iterations.
    assert count_iterations_to_reach(curves, "fast", "slow") == 10
    assert count_iterations_to_reach(curves, "slow", "slow") == 100
    assert math.isnan(count_iterations_to_reach(curves, "slow", "fast"))
    runs = [write_curve(tmp_path, "dead", [0.0, 0.004]), write_curve(tmp_path, "alive", [0.5, 0.6])]
    assert math.isnan(count_iterations_to_reach(read_curves(runs), "alive", "dead"))  # not "after ten iterations"
    draw_curves(curves, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_every_fold_and_seed_has_its_own_target(tmp_path):
    first = {(0, 0): [0.2, 0.2], (1, 0): [0.6, 0.6], (0, 1): [0.4, 0.4]}
    second = {(0, 0): [0.2, 0.3], (1, 0): [0.5, 0.9], (0, 1): [0.4, 0.4]}
    runs = [
        write_curve(tmp_path, name, dice, seed, fold=fold)
        for name, each in (("first", first), ("second", second))
        for (fold, seed), dice in each.items()
    ]
    # Reached after 10, 20 and 10 iterations.
    assert count_iterations_to_reach(read_curves(runs), "second", "first") == pytest.approx(40 / 3)
    (tmp_path / "again").mkdir()
    runs[4] = write_curve(tmp_path / "again", "second", [0.1, 0.1], 0, fold=1)
    assert math.isnan(count_iterations_to_reach(read_curves(runs), "second", "first"))
