"""Interleaving and ratios on a simulated clock."""

import pandas as pd

from ser_nnunet.benchmark import timing


def test_tasks_take_turns_and_the_warm_up_does_not_count(monkeypatch):
    clock, order = [0.0], []

    def task(name, seconds):
        def run():
            order.append(name)
            clock[0] += seconds[min(order.count(name), len(seconds)) - 1]

        return run

    monkeypatch.setattr(timing, "perf_counter", lambda: clock[0])
    # The first call of "A" is slow, as first calls are.
    seconds = timing.time_interleaved({"A": task("A", [9, 2, 4]), "B": task("B", [9, 1, 1])}, rounds=2, warmup=1)
    assert order == ["A", "B"] * 3
    assert seconds.to_dict("list") == {"A": [2, 4], "B": [1, 1]}


def test_ratios_are_taken_within_rounds():
    # The machine slows down threefold, then tenfold: B always takes half as long as A.
    rounds = pd.DataFrame({"A": [2.0, 6.0, 20.0], "B": [1.0, 3.0, 10.0]})
    table = timing.summarise_times(rounds).set_index("system")
    assert table.loc["B", ["ratio_q1", "ratio", "ratio_q3"]].tolist() == [0.5, 0.5, 0.5]
    assert table.loc["A", ["seconds_q1", "seconds", "seconds_q3"]].tolist() == [4.0, 6.0, 13.0]
