"""The comparison of trainers as rows and as text."""

from types import SimpleNamespace

import pandas as pd
import pytest

from ser_nnunet.benchmark.accuracy_tables import compare_trainers, format_accuracy


def test_two_seeds_are_one_row_per_trainer_class_and_metric():
    methods = {"A": ["A seed 3", "A seed 8"], "B": ["B seed 3", "B seed 8"]}
    rows = [
        (method, case, name, dice + at_class, dice)
        for trainer, dice in {"A": 0.5, "B": 0.6}.items()
        for method in methods[trainer]
        for case in ("a", "b")
        for name, at_class in (("one", 0.0), ("two", 0.2))
    ]
    cases = pd.DataFrame(rows, columns=["method", "case", "class", "Dice", "lesion_F1"])
    table = compare_trainers(SimpleNamespace(cases=cases, classes=["one", "two"]), methods)
    assert len(table) == 2 * 3 * 2
    indexed = table.set_index(["metric", "class", "trainer"])
    assert indexed.loc[("Dice", "all classes", "B"), "mean"] == pytest.approx(0.7)
    assert indexed.loc[("Dice", "two", "B"), "difference"] == pytest.approx(0.1)
    assert indexed.loc[("lesion_F1", "one", "B"), "ratio"] == pytest.approx(1.2)
    shown = format_accuracy(table).set_index(["metric", "class", "trainer"])
    assert shown.loc[("Dice", "all classes", "B"), "minus the first"] == "0.10 (0.10 to 0.10)"


def test_an_undefined_ratio_is_shown_as_a_dash():
    row = {"trainer": "B", "metric": "Dice", "class": "lesion", "n": 2}
    row |= {f"mean{end}": 1.0 for end in ("", "_low", "_high")} | {
        f"difference{end}": 1.0 for end in ("", "_low", "_high")
    }
    row |= {f"ratio{end}": float("nan") for end in ("", "_low", "_high")}
    shown = format_accuracy(pd.DataFrame([row]))
    assert shown["of the first"].tolist() == ["-"] and shown["mean"].tolist() == ["1.00 (1.00 to 1.00)"]
