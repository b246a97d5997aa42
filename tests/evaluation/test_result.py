"""The files of an evaluation: complete, readable, and of one evaluation only."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation import Evaluation, Settings, evaluate
from ser_nnunet.evaluation.report import write_report
from ser_nnunet.evaluation.result_files import check_output
from tests.evaluation.cohort import FAST, OVERLAP, random_label_map, write_cohort


def test_written_results_can_be_read_and_replace_earlier_ones(tmp_path):
    folder = write_cohort(
        tmp_path,
        {f"case{seed}": random_label_map(seed) for seed in range(3)},
        {f"case{seed}": random_label_map(seed + 10) for seed in range(3)},
        {f"case{seed}": random_label_map(seed + 20) for seed in range(3)},
    )
    settings = Settings(groups=("overlap", "lesions"), lesion_classes="all", strata=(5, 50), bootstrap=100)
    compared = evaluate(
        folder / "labelsTr", folder / "pred0", compare=[folder / "pred1"], settings=settings, names=["x", "y"], **FAST
    )
    out = tmp_path / "out"
    names = {file.name for file in compared.write(out)}
    assert names == {file.name for file in out.iterdir()}
    assert {"metrics_wide.csv", "metrics_long.csv", "lesions.csv", "summary.csv", "comparison.csv"} < names

    again = Evaluation.read(out)
    assert again.settings.as_json() == compared.settings.as_json() and again.methods == ["x", "y"]
    assert np.allclose(again.cases[["Dice"]], compared.cases[["Dice"]])
    assert json.loads((out / "evaluation.json").read_text())["about"]["versions"]["nnunetv2"]

    evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST).write(out)
    assert not (out / "comparison.csv").exists() and not (out / "lesions.csv").exists()


def test_a_failed_write_leaves_the_earlier_files_and_nothing_else(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array}, {"a": array})
    first = evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)
    first.write(tmp_path / "out")
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    with pytest.raises(TypeError):
        replace(first, cases=first.cases.assign(Dice=0.0), about={"date": object()}).write(tmp_path / "out")
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(
    "name", ["metrics_wide.csv", "lesions.csv", "summary.csv", "comparison.csv", "evaluation.json", "report.html"]
)
def test_somebody_elses_tables_are_neither_replaced_nor_deleted(tmp_path, name):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array}, {"a": array})
    result = evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("precious")
    with pytest.raises(UserError, match=rf"holds {name}, which no evaluation has written"):
        result.write(tmp_path / "out")
    assert [file.read_text() for file in (tmp_path / "out").iterdir()] == ["precious"]


def test_a_table_that_the_earlier_evaluation_did_not_write_is_somebody_elses(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array}, {"a": array})
    result = evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)
    result.write(tmp_path / "out")
    (tmp_path / "out" / "comparison.csv").write_text("precious")
    with pytest.raises(UserError, match=r"holds comparison\.csv, which no evaluation"):
        result.write(tmp_path / "out")
    assert (tmp_path / "out" / "comparison.csv").read_text() == "precious"


def test_tables_of_an_evaluation_that_was_killed_while_it_wrote_are_replaced(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array}, {"a": array})
    result = evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)
    result.write(tmp_path / "out")
    (tmp_path / "out" / "evaluation.json").rename(tmp_path / "out" / ".unfinished_evaluation.json")
    assert len(result.write(tmp_path / "out")) == len(list((tmp_path / "out").iterdir()))


def test_the_report_of_an_earlier_evaluation_goes_with_its_numbers(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array}, {"a": array})
    result = evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)
    result.write(tmp_path / "out")
    write_report(result, tmp_path / "out" / "report.html", pictures=0, progress=False)
    with pytest.raises(TypeError):
        replace(result, about={"date": object()}).write(tmp_path / "out")
    assert (tmp_path / "out" / "report.html").exists()  # the earlier results are kept whole
    result.write(tmp_path / "out")
    assert not (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("place", ["file", "file/out", "nowhere"])
def test_an_output_that_can_be_no_folder_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    with pytest.raises(UserError, match="can't be the output folder"):
        check_output(tmp_path / place)


def test_an_evaluation_of_an_earlier_version_without_patients_is_refused(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array}, {"a": array})
    evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST).write(tmp_path / "out")
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    del content["about"]["patients"]
    (tmp_path / "out" / "evaluation.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"a result of `ser-nnunet evaluate` .*\n  about\.patients: Field required"):
        Evaluation.read(tmp_path / "out")


def test_a_folder_without_evaluation_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"a result of `ser-nnunet evaluate` .* it can't be read \(No such file"):
        Evaluation.read(tmp_path)
