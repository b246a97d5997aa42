"""Adding metrics: an entry in the definitions and a module; tables, statistics, report and command line follow."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ser_nnunet.cli import main
from ser_nnunet.evaluation import Evaluation, Settings, evaluate
from ser_nnunet.evaluation.definitions import GROUPS
from tests.evaluation import similarity
from tests.evaluation.cohort import FAST, random_label_map, write_cohort


@pytest.fixture
def cohort(tmp_path):
    names = [f"case{seed}" for seed in range(4)]
    arrays = [{name: random_label_map(seed + part) for seed, name in enumerate(names)} for part in (0, 10, 20)]
    return write_cohort(tmp_path / "cohort", *arrays)


def test_a_new_group_of_metrics_reaches_tables_statistics_report_and_command_line(
    cohort, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(GROUPS, "similarity", similarity.GROUP)
    out = tmp_path / "out"
    folders = ["-ref", cohort / "labelsTr", "-pred", cohort / "pred0", "--compare", cohort / "pred1", "-o", out]
    assert main(["evaluate", *map(str, folders), "-np", "1", "--metrics", "similarity", "--bootstrap", "100"]) == 0
    assert "Volumetric similarity" in capsys.readouterr().out

    wide, long, summary, comparison = (
        pd.read_csv(out / f"{name}.csv") for name in ("metrics_wide", "metrics_long", "summary", "comparison")
    )
    both = {"volumetric_similarity", "volume_ratio"}
    assert both < set(wide.columns) and both < set(long["metric"]) and both < set(summary["metric"])
    assert np.allclose(wide["volume_ratio"], wide["prediction_ml"] / wide["reference_ml"], rtol=1e-3)  # both rounded
    assert "volumetric_similarity" in set(comparison["metric"]) and "volume_ratio" not in set(comparison["metric"])
    assert Evaluation.read(out).about["rules"]["similarity"].startswith("Volumetric similarity")

    assert main(["report", str(out), "--pictures", "1", "--rank-by", "volumetric_similarity"]) == 0
    page = (out / "report.html").read_text()
    for text in ("Volumetric similarity: 1 - |FN - FP|", "ranked by Volumetric similarity", "as defined by Taha"):
        assert text in page


def test_a_metric_that_is_defined_but_not_measured_is_named(cohort, monkeypatch):
    forgotten = replace(similarity.GROUP.metrics[0], name="forgotten")
    monkeypatch.setitem(GROUPS, "similarity", replace(similarity.GROUP, metrics=(*similarity.GROUP.metrics, forgotten)))
    with pytest.raises(ValueError, match=r"tests\.evaluation\.similarity .* forgotten"):
        evaluate(cohort / "labelsTr", cohort / "pred0", settings=Settings(groups=("similarity",)), **FAST)


def test_columns_keep_their_order():
    names = [metric.name for metric in Settings(strata=(5,)).metrics]
    assert names[:2] == ["Dice", "IoU"] and names[8:12] == ["HD_mm", "HD95_mm", "ASSD_mm", "NSD"]
    assert names[12] == "lesions_reference" and names[24] == "lesions_reference[<5]" and names[-1] == "lesion_Dice[>=5]"
    assert [metric.name for metric in Settings(groups=()).metrics] == names[:8]
