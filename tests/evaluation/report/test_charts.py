"""The numbers behind the charts, and what a chart shows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ser_nnunet.evaluation.report.charts import (
    draw_distribution,
    draw_lesion_sensitivity,
    limits_of_agreement,
    tabulate_lesion_sensitivity,
)


def test_limits_of_agreement_are_the_mean_and_196_standard_deviations(evaluation):
    values = evaluation.values("volume_difference_ml", "rim", "theirs").to_numpy()
    mean, low, high = limits_of_agreement(evaluation, "rim", "theirs")
    assert mean == pytest.approx(values.mean()) and low < mean < high  # one case has no prediction
    assert (high - low) / 2 == pytest.approx(1.96 * np.std(values, ddof=1))


def test_lesion_sensitivity_pools_the_lesions_of_all_cases(evaluation):
    table = tabulate_lesion_sensitivity(evaluation, "rim")
    rows = evaluation.lesions[(evaluation.lesions["class"] == "rim") & (evaluation.lesions["of"] == "reference")]
    for row in table.itertuples():
        lesions = rows[(rows["method"] == row.method) & (rows["stratum"] == row.stratum)]
        assert (row.total, row.found) == (len(lesions), lesions["matched"].sum())
    theirs = table[(table["method"] == "theirs") & (table["total"] > 0)].iloc[0]
    assert theirs["low"] <= theirs["sensitivity"] == theirs["found"] / theirs["total"] <= theirs["high"]


def test_lesion_sensitivity_resamples_patients(evaluation):
    one_patient = replace(evaluation, cases=evaluation.cases.assign(patient="P"))
    assert tabulate_lesion_sensitivity(evaluation, "rim")["low"].notna().any()
    assert tabulate_lesion_sensitivity(one_patient, "rim")[["low", "high"]].isna().all(axis=None)


def test_every_case_is_a_point_that_links_to_its_row(evaluation):
    metric = next(metric for metric in evaluation.metrics if metric.name == "Dice")
    chart = draw_distribution(evaluation, metric)
    for case in set(evaluation.cases["case"]):
        assert chart.count(f'#case-{case}"') == 2 * 2  # a class and a method each
    assert chart == draw_distribution(evaluation, metric)  # reproducible


def test_without_reference_lesions_there_is_no_sensitivity_chart(evaluation):
    table = pd.DataFrame({"stratum": ["<10"], "method": ["a"], "found": [0], "total": [0]})
    assert draw_lesion_sensitivity(table, evaluation, "rim") == ""
