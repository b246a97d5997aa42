"""Names that hurt: cases, classes and methods that a spreadsheet computes, a terminal obeys or no encoding has."""

import csv
import json
import sys

import numpy as np
import pytest

from ser_nnunet.cli import main
from ser_nnunet.evaluation import Evaluation
from tests.evaluation.cohort import random_label_map, write_cohort

NAMES = ["=cmd|calc", "+1", "-2", "@x", "NULL", "NA", "nan", "a\x1b[31mred", "$1_a^{b$", "Ünïcode", "a,b\"c'", "_x"]


def evaluate(cohort, out, *more):
    arguments = ["evaluate", "-ref", cohort / "labelsTr", "-pred", cohort / "pred0", "-o", out, "-np", "1"]
    return main([*map(str, arguments), "--metrics", "overlap", "--bootstrap", "100", *more])


def test_no_name_is_computed_obeyed_or_taken_for_a_gap(tmp_path, capsys):
    arrays = {name: random_label_map(seed) for seed, name in enumerate(NAMES)}
    labels = {"background": 0, "=1+1": 1, "$1_a^{b$": 2}
    cohort = write_cohort(tmp_path, arrays, {name: np.roll(array, 1) for name, array in arrays.items()}, labels=labels)
    assert evaluate(cohort, tmp_path / "out", "--names", "=HYPERLINK(1)") == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    for file in (tmp_path / "out").glob("*.csv"):
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        names = {row[column] for row in rows for column in ("method", "class", "case") if column in row}
        assert not any(name.startswith(("=", "+", "-", "@")) or name in ("NULL", "NA", "nan") for name in names)
        assert not any("\x1b" in name for name in names)
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert {row["case"] for row in content["cases"]} == set(NAMES), "the JSON holds the names as they are"
    assert main(["report", str(tmp_path / "out"), "--pictures", "1"]) == 0
    assert "$1_a^{b$" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_names_that_are_no_utf8_are_refused_with_the_file_and_leave_nothing(tmp_path, capsys):
    array = random_label_map(0)
    cohort = write_cohort(tmp_path, {"a": array}, {"a": array})
    for folder in ("labelsTr", "pred0"):
        (cohort / folder / "a.nii.gz").rename(cohort / folder / "b\udcff.nii.gz")
    assert evaluate(cohort, tmp_path / "out") == 2
    assert "b\\udcff.nii.gz" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_an_output_folder_and_a_method_that_are_no_utf8_are_written(tmp_path):
    array = random_label_map(0)
    cohort = write_cohort(tmp_path, {"a": array}, {"a": array})
    folder = tmp_path / "o\udcff"
    assert evaluate(cohort, folder, "--names", "m\udcff") == 0
    assert main(["report", str(folder), "--pictures", "0"]) == 0
    assert Evaluation.read(folder).methods == ["m\\udcff"]


def test_a_class_name_of_a_lone_surrogate_is_refused_at_the_door(tmp_path, capsys):
    array = random_label_map(0)
    labels = {"background": 0, "a\ud800": 1, "b": 2}
    cohort = write_cohort(tmp_path, {"a": array}, {"a": array}, labels=labels)
    assert evaluate(cohort, tmp_path / "out") == 2
    assert "dataset.json" in (shown := capsys.readouterr().err) and "a\\ud800" in shown
