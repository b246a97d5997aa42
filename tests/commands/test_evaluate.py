"""`ser-nnunet evaluate` as a user calls it."""

import json

import pytest

from ser_nnunet.cli import main
from ser_nnunet.commands.evaluate import parse_tolerances
from ser_nnunet.errors import UserError
from tests.evaluation.cohort import random_label_map, write_cohort, write_volume


@pytest.fixture
def cohort(tmp_path):
    names = [f"case{seed}" for seed in range(4)]
    arrays = [{name: random_label_map(seed + part) for seed, name in enumerate(names)} for part in (0, 10, 20)]
    return write_cohort(tmp_path / "cohort", *arrays)


def test_evaluate_writes_tables_and_prints_the_headline_metrics(cohort, tmp_path, capsys):
    arguments = ["-ref", cohort / "labelsTr", "-pred", cohort / "pred0", "--compare", cohort / "pred1", "-np", "1"]
    choices = ["--tolerance", "2", "posterior=0.5", "--detection", "iou", "--strata", "5", "--bootstrap", "100"]
    choices += ["--lesions", "all"]
    assert main(["evaluate", *map(str, arguments), *choices, "-o", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    for word in ("anterior", "posterior", "Dice", "NSD", "Lesion F1", "pred0 against the others", "p (Holm)"):
        assert word in shown
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["settings"]["class_tolerance_mm"] == {"posterior": 0.5} and found["settings"]["min_overlap"] == 0.1
    assert "0.5 mm for posterior, 2 mm for every other class" in found["about"]["rules"]["surface"]
    assert len(found["cases"]) == 4 * 2 * 2


def test_evaluate_writes_nothing_if_a_file_is_missing(cohort, tmp_path, capsys):
    (cohort / "pred0" / "case2.nii.gz").unlink()
    arguments = ["-ref", str(cohort / "labelsTr"), "-pred", str(cohort / "pred0"), "-o", str(tmp_path / "out")]
    assert main(["evaluate", *arguments, "-np", "1"]) == 2
    assert "case2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["evaluate", *arguments, "-np", "1", "--chill", "--tolerance", "core=1"]) == 2
    assert "the classes are anterior, posterior" in capsys.readouterr().err


def test_evaluate_names_every_kind_of_problem_at_once_and_writes_nothing(cohort, tmp_path, capsys):
    strange = random_label_map(0)
    strange[0, 0, 0] = 9
    (cohort / "pred0" / "case0.nii.gz").unlink()
    write_volume(cohort / "pred0" / "case1.nii.gz", random_label_map(0)[:-1])
    write_volume(cohort / "pred0" / "case2.nii.gz", strange)
    arguments = ["-ref", str(cohort / "labelsTr"), "-pred", str(cohort / "pred0"), "-o", str(tmp_path / "out")]
    assert main(["evaluate", *arguments, "-np", "1"]) == 2
    shown = capsys.readouterr().err
    assert "missing predictions" in shown and "case0 (1)" in shown
    assert "case1.nii.gz has shape (11, 9, 5), expected (11, 9, 6)" in shown and "case2.nii.gz holds label 9" in shown
    assert not (tmp_path / "out").exists()


def test_quiet_evaluation_writes_its_tables_and_shows_nothing(cohort, tmp_path, capfd):
    arguments = ["-ref", str(cohort / "labelsTr"), "-pred", str(cohort / "pred0"), "-o", str(tmp_path / "out")]
    assert main(["evaluate", *arguments, "-np", "1", "--metrics", "overlap", "--bootstrap", "100", "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "out" / "evaluation.json").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metrics", "overlap", "--lesions", "all", "--detection", "iou"], "--lesions, --detection: without effect"),
        (["--lesions", "off", "--strata", "5", "--min-overlap", "0"], "--min-overlap, --strata: without effect"),
        (
            ["--metrics", "lesions", "--tolerance", "2"],
            "--tolerance: without effect, because --metrics names no surface metrics",
        ),
    ],
)
def test_options_of_metrics_that_are_not_computed_are_refused(cohort, tmp_path, capsys, options, said):
    arguments = ["-ref", str(cohort / "labelsTr"), "-pred", str(cohort / "pred0"), "-o", str(tmp_path / "out")]
    assert main(["evaluate", *arguments, "-np", "1", *options]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_lesions_may_be_off_without_any_lesion_metrics(cohort, tmp_path):
    arguments = ["-ref", str(cohort / "labelsTr"), "-pred", str(cohort / "pred0"), "-o", str(tmp_path / "out")]
    choices = ["--metrics", "overlap", "--lesions", "off", "--bootstrap", "100"]
    assert main(["evaluate", *arguments, "-np", "1", *choices]) == 0


def test_tolerances_are_for_all_classes_or_for_one():
    assert parse_tolerances(["2", "Cancer=8.5"]) == (2.0, {"Cancer": 8.5})
    assert parse_tolerances(["a=b=3"]) == (1.0, {"a=b": 3.0})
    with pytest.raises(UserError, match="expected millimetres"):
        parse_tolerances(["Cancer=wide"])
