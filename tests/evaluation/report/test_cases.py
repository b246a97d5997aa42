"""Which cases are shown, and where their files are."""

import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation import Evaluation
from ser_nnunet.evaluation.report import write_report
from ser_nnunet.evaluation.report.cases import select_best_median_worst, select_evenly


def test_cases_are_selected_from_worst_to_best(shifted):
    assert select_evenly(shifted, 3) == ["case4", "case2", "case0"]
    assert select_evenly(shifted, 99) == ["case4", "case3", "case2", "case1", "case0"]


def test_best_median_and_worst_cases_follow_the_metrics_direction(evaluation):
    by_dice = select_best_median_worst(evaluation, [], 1, "Dice")
    assert list(by_dice) == ["case_0", "case_4", "case_9"] and by_dice["case_0"] == "best"
    assert select_best_median_worst(evaluation, [], 1, "ASSD_mm")["case_0"] == "best"
    assert select_best_median_worst(evaluation, ["case_9"], 1, "Dice")["case_9"] == "requested, worst"
    assert select_best_median_worst(evaluation, [], 0, "Dice") == {}


def test_predictions_that_no_longer_exist_are_named(evaluation, tmp_path):
    evaluation.write(tmp_path)
    moved = Evaluation.read(tmp_path)
    moved.about["methods"]["ours"] = str(tmp_path / "gone")
    with pytest.raises(UserError, match="no longer exist"):
        write_report(moved, tmp_path / "report.html", progress=False)
