"""Which files belong together, and which are missing."""

import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation import evaluate
from tests.evaluation.cohort import FAST, OVERLAP, random_label_map, write_cohort


def test_all_missing_and_extra_predictions_are_named_at_once(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array, "b": array, "c": array}, {"c": array, "x": array, "y": array})
    with pytest.raises(UserError) as raised:
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)
    message = str(raised.value)
    assert "missing predictions" in message and "a, b" in message
    assert "extra predictions" in message and "x, y" in message


def test_many_missing_predictions_are_counted_and_the_first_ones_named(tmp_path):
    folder = write_cohort(tmp_path, {"a": random_label_map(0)}, {"a": random_label_map(0)})
    for number in range(30):
        (folder / "labelsTr" / f"b{number:02d}.nii.gz").touch()
    with pytest.raises(UserError, match=r"missing predictions in .*: b00, [b\d, ]*b09 and 20 more \(30\)\n"):
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)


def test_chill_and_cases_select_the_evaluated_cases(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array, "b": array, "c": array}, {"b": array, "c": array})
    arguments = {"settings": OVERLAP, **FAST}
    chilled = evaluate(folder / "labelsTr", folder / "pred0", chill=True, **arguments)
    assert set(chilled.cases["case"]) == {"b", "c"}
    named = evaluate(folder / "labelsTr", folder / "pred0", cases=["c"], **arguments)
    assert set(named.cases["case"]) == {"c"}
    with pytest.raises(UserError, match=r"no reference in .* for z"):
        evaluate(folder / "labelsTr", folder / "pred0", cases=["c", "z"], **arguments)
