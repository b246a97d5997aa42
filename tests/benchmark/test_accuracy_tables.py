"""The comparison of trainers as rows and as text."""

from types import SimpleNamespace

import pandas as pd
import pytest

from ser_nnunet.benchmark.accuracy_tables import (
    add_roles,
    compare_by_fold,
    compare_trainers,
    format_accuracy,
    format_folds,
)


def test_two_seeds_are_one_row_per_trainer_class_and_metric():
    methods = {"A": ["A seed 3", "A seed 8"], "B": ["B seed 3", "B seed 8"]}
    rows = [
        (method, case, f"patient of {case}", name, dice + at_class, dice)
        for trainer, dice in {"A": 0.5, "B": 0.6}.items()
        for method in methods[trainer]
        for case in ("a", "b")
        for name, at_class in (("one", 0.0), ("two", 0.2))
    ]
    cases = pd.DataFrame(rows, columns=["method", "case", "patient", "class", "Dice", "lesion_F1"])
    table = compare_trainers(SimpleNamespace(cases=cases, classes=["one", "two"]), methods)
    assert len(table) == 2 * 3 * 2
    indexed = table.set_index(["metric", "class", "trainer"])
    assert indexed.loc[("Dice", "all classes", "B"), "mean"] == pytest.approx(0.7)
    assert indexed.loc[("Dice", "two", "B"), "difference"] == pytest.approx(0.1)
    assert indexed.loc[("lesion_F1", "one", "B"), "ratio"] == pytest.approx(1.2)
    shown = format_accuracy(table).set_index(["metric", "class", "trainer"])
    assert shown.loc[("Dice", "all classes", "B"), "minus the baseline"] == "0.10 (0.10 to 0.10)"
    assert shown.loc[("Dice", "two", "B"), "compared cases (patients)"] == "2 (2)"


def test_an_undefined_ratio_is_shown_as_a_dash():
    row = {"trainer": "B", "metric": "Dice", "class": "lesion", "n": 2, "patients": 1}
    row |= {f"mean{end}": 1.0 for end in ("", "_low", "_high")} | {
        f"difference{end}": 1.0 for end in ("", "_low", "_high")
    }
    row |= {f"ratio{end}": float("nan") for end in ("", "_low", "_high")}
    shown = format_accuracy(pd.DataFrame([row]))
    assert shown["of the baseline"].tolist() == ["not defined"] and shown["mean"].tolist() == ["1.00 (1.00 to 1.00)"]


def test_each_fold_has_its_own_means_and_differences():
    dice = {"A": {"a": 0.2, "b": 0.4, "c": 0.5}, "B": {"a": 0.3, "b": 0.5, "c": 0.4}}
    rows = [(name, case, "P", "lesion", value) for name, each in dice.items() for case, value in each.items()]
    cases = pd.DataFrame(rows, columns=["method", "case", "patient", "class", "Dice"])
    evaluation = SimpleNamespace(cases=cases.sample(frac=1, random_state=1), classes=["lesion"])
    table = compare_by_fold(evaluation, {"A": ["A"], "B": ["B"]}, {"a": 3, "b": 3, "c": 1})
    indexed = table.set_index(["fold", "trainer"])
    assert indexed["mean"].to_dict() == pytest.approx({(1, "A"): 0.5, (1, "B"): 0.4, (3, "A"): 0.3, (3, "B"): 0.4})
    assert indexed["n"].to_dict() == {(1, "A"): 1, (1, "B"): 1, (3, "A"): 2, (3, "B"): 2}
    shown = format_folds(table)
    assert shown.columns.tolist() == ["trainer", "fold 1 (minus the baseline)", "fold 3 (minus the baseline)"]
    assert shown.to_numpy().tolist() == [["A", "0.500", "0.300"], ["B", "0.400 (-0.100)", "0.400 (+0.100)"]]
    marked = add_roles(table, {"A": "baseline", "B": ""})
    assert marked["role"].tolist() == ["baseline", ""] * 2 and "role" not in table
