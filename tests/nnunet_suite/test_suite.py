"""The suite's checks find what they should; its smallest part, the cascade with regions and ignore label, runs."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.dataset_conversion.volumes import image_of, save
from tests.nnunet_suite.__main__ import parse
from tests.nnunet_suite.checks import (
    OutcomeError,
    check_best,
    check_same,
    check_segmentations,
    check_summary,
    read_segmentations,
)
from tests.nnunet_suite.matrix import Matrix, Row
from tests.nnunet_suite.short_trainers import GUIDED

FIRST, SECOND = Row("plain", "Trainer", "3d_lowres"), Row("plain", "Trainer", "3d_cascade_fullres")


@pytest.mark.slow
def test_the_cascade_is_trained_with_regions_and_the_ignore_label():
    selection = ["--kinds", "regions_ignore", "--configurations", "3d_lowres", "3d_cascade_fullres", "--folds", "all"]
    command = [sys.executable, "-m", "tests.nnunet_suite", "--fork", *selection, "--steps", "trained"]
    command += ["--trainers", GUIDED]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("|")[3:5] for line in done.stdout.splitlines() if line.startswith("| regions_ignore")]
    assert rows == [[" 3d_lowres ", " ok "], [" 3d_cascade_fullres ", " ok "]]


def test_the_cascade_without_its_first_stage_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse(["--configurations", "2d", "3d_cascade_fullres"])
    assert "3d_cascade_fullres needs 3d_lowres" in capsys.readouterr().err


def fail():
    raise AssertionError("nnUNetv2_train ended with 1\n" + "\n".join(f"line {number}" for number in range(100)))


def test_a_failed_step_is_reported_with_its_last_lines_and_what_needs_it_is_skipped(capsys):
    matrix = Matrix(("trained", "predicted"))
    matrix.attempt("trained", [FIRST], fail)
    matrix.attempt("trained", [SECOND], fail, needs=[(FIRST, "trained")])
    matrix.attempt("predicted", [SECOND], fail, needs=[(SECOND, "trained")])
    assert list(matrix.cells.values()) == ["FAILED", "skipped", "skipped"] and not matrix.succeeded
    report = matrix.report_failures()
    assert "3d_lowres: trained FAILED" in report and "nnUNetv2_train ended with 1" in report
    assert "line 99" in report and "line 50" not in report


def test_the_matrix_has_a_row_per_model_and_steps_that_were_declined_are_left_out(capsys):
    matrix = Matrix(("trained",))
    assert not matrix.succeeded, "nothing was run"
    matrix.attempt("trained", [FIRST, SECOND], lambda: None)
    matrix.attempt("predicted", [FIRST], fail)
    assert matrix.succeeded
    assert matrix.table().splitlines() == [
        "| data set | trainer | configuration | trained |",
        "| --- | --- | --- | --- |",
        "| plain | Trainer | 3d_lowres | ok |",
        "| plain | Trainer | 3d_cascade_fullres | ok |",
    ]


@pytest.fixture
def segmented(tmp_path):
    """The segmentation of a case and its image, on the same grid."""
    voxels = np.zeros((3, 4, 5), np.uint8)
    voxels[1] = 2
    save(image_of(voxels), tmp_path / "predicted/case.nii.gz")
    save(image_of(voxels), tmp_path / "image.nii.gz")
    return tmp_path / "predicted", {"case": tmp_path / "image.nii.gz"}


def test_segmentations_on_the_right_grid_with_allowed_values_pass(segmented):
    folder, images = segmented
    assert check_segmentations(folder, images, {0, 1, 2}) == {0, 2}


def test_wrong_values_cases_grids_and_missing_probabilities_are_found(segmented):
    folder, images = segmented
    with pytest.raises(OutcomeError, match=r"the values \[0, 2\], allowed are \[0, 1\]"):
        check_segmentations(folder, images, {0, 1})
    with pytest.raises(OutcomeError, match="instead of"):
        check_segmentations(folder, images | {"lost": images["case"]}, {0, 1, 2})
    with pytest.raises(OutcomeError, match="no probabilities"):
        check_segmentations(folder, images, {0, 1, 2}, probabilities=True)
    save(image_of(np.zeros((3, 4, 5), np.uint8), origin=(0.0, 0.0, 1.0)), images["case"])
    with pytest.raises(OutcomeError, match="instead of"):
        check_segmentations(folder, images, {0, 1, 2})


def test_another_segmentation_after_a_second_validation_is_found(segmented):
    folder, _ = segmented
    before = read_segmentations(folder)
    check_same(before, read_segmentations(folder))
    save(image_of(np.ones((3, 4, 5), np.uint8)), folder / "case.nii.gz")
    with pytest.raises(OutcomeError, match=r"case\.nii\.gz"):
        check_same(before, read_segmentations(folder))


def write_summary(path, cases, dice):
    files = [{"prediction_file": f"/somewhere/{case}.nii.gz"} for case in cases]
    summary = {"metric_per_case": files, "mean": {"1": {}, "(1, 2)": {}}, "foreground_mean": {"Dice": dice}}
    path.write_text(json.dumps(summary))
    return path


def test_a_summary_must_cover_all_cases_and_classes_with_a_finite_dice(tmp_path):
    file = write_summary(tmp_path / "summary.json", ["a", "b"], 0.5)
    assert check_summary(file, ["b", "a"], {"1", "(1, 2)"}) == 0.5
    for cases, classes in ((["a"], {"1", "(1, 2)"}), (["a", "b"], {"1", "2"})):
        with pytest.raises(OutcomeError):
            check_summary(file, cases, classes)
    with pytest.raises(OutcomeError, match="nan"):
        check_summary(write_summary(file, ["a"], float("nan")), ["a"], {"1", "(1, 2)"})


def test_the_best_configuration_must_have_been_compared_with_all_ensembles():
    results = {"T__2d": 0.5, "T__3d": 0.6, "ensemble___T__2d___T__3d": 0.7}
    chosen = [{"configuration": "2d"}, {"configuration": "3d"}]
    best = {"selected_model_or_models": chosen, "result_on_crossval_pre_pp": 0.7}
    information = {"all_results": results, "best_model_or_ensemble": best}
    models, configurations = ["T__2d", "T__3d"], ["2d", "3d"]
    check_best(information, models, configurations)
    with pytest.raises(OutcomeError, match="0 ensembles instead of 1"):
        check_best(information | {"all_results": {"T__2d": 0.5, "T__3d": 0.7}}, models, configurations)
    with pytest.raises(OutcomeError, match="not the best"):
        worse = best | {"result_on_crossval_pre_pp": 0.5}
        check_best(information | {"best_model_or_ensemble": worse}, models, configurations)
