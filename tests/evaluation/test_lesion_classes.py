"""Lesions are counted where a class consists of lesions, not in organs, where they would be stray components."""

import numpy as np
import pandas as pd
import pytest

from ser_nnunet.cli import main
from ser_nnunet.evaluation import Settings, evaluate
from ser_nnunet.evaluation.lesion_classes import describe_lesion_classes
from tests.evaluation.cohort import FAST, write_cohort

LABELS = {"background": 0, "pancreas": 1, "Tumour": 2, "spots": 3}


@pytest.fixture
def cohort(tmp_path):
    reference = np.zeros((5, 12, 30), np.uint8)
    reference[1:4, 2:8, 2:8], reference[2, 3, 3] = 1, 2
    reference[2, 10, 12:28:3] = 3  # six components
    kidneys = np.where(reference == 3, 0, reference)
    kidneys[2, 2:5, 20:23] = kidneys[2, 8:11, 20:23] = 3  # as a paired organ
    stray = reference.copy()
    stray[0, 0, 29] = 1
    references = {"a": reference, "b": reference, "c": kidneys}
    return write_cohort(tmp_path / "cohort", references, {**references, "a": stray}, labels=LABELS)


def counted(cohort, **choices):
    found = evaluate(cohort / "labelsTr", cohort / "pred0", settings=Settings(bootstrap=100, **choices), **FAST)
    rows = found.summary[found.summary["metric"] == "lesion_F1"]
    return found, list(rows["class"])


def test_by_default_names_and_components_decide(cohort):
    found, classes = counted(cohort)
    assert classes == ["Tumour", "spots"] == list(found.settings.lesion_classes)
    assert found.cases.loc[found.cases["class"] == "pancreas", ["lesions_false", "PQ"]].isna().all(axis=None)
    assert set(found.lesions["class"]) == {"Tumour", "spots"}
    means = found.class_means.set_index("metric")
    assert means.loc["lesion_F1", "mean"] == 1 and means.loc["Dice", "mean"] < 1  # the stray voxel is pancreas
    assert "for Tumour, spots, not for pancreas" in describe_lesion_classes(found.classes, found.settings)


def test_all_counts_stray_components_of_an_organ(cohort):
    found, classes = counted(cohort, lesion_classes="all")
    assert classes == ["pancreas", "Tumour", "spots"]
    assert found.value("lesions_false", "a", "pancreas") == 1


def test_without_lesion_classes_there_are_no_lesion_columns(tmp_path, cohort):
    arguments = ["evaluate", "-ref", cohort / "labelsTr", "-pred", cohort / "pred0", "-np", "1", "--bootstrap", "100"]
    columns = {}
    for word in ("off", "spots"):
        assert main([*map(str, arguments), "--lesions", word, "-o", str(tmp_path / word)]) == 0
        columns[word] = pd.read_csv(tmp_path / word / "summary.csv").query("metric == 'PQ'")["class"].tolist()
        assert (tmp_path / word / "lesions.csv").exists() == (word == "spots")
    assert columns == {"off": [], "spots": ["spots"]}
    assert main([*map(str, arguments), "--lesions", "kidney", "-o", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "name", ["lesion", "MS_lesions", "liver tumor", "Cancer", "metastases", "WMH", "hyperintensity"]
)
def test_names_of_lesions_count_even_if_every_case_has_one(tmp_path, name):
    array = np.zeros((3, 5, 5), np.uint8)
    array[1, 2, 2] = 1
    folder = write_cohort(tmp_path, {"a": array}, {"a": array}, labels={"background": 0, name: 1})
    assert counted(folder)[1] == [name]


@pytest.mark.parametrize("name", ["prostate", "left kidney"])
def test_names_of_organs_do_not(tmp_path, name):
    array = np.zeros((3, 5, 5), np.uint8)
    array[1, 2, 2] = 1
    folder = write_cohort(tmp_path, {"a": array}, {"a": array}, labels={"background": 0, name: 1})
    found, classes = counted(folder)
    assert classes == [] and "PQ" not in found.cases
    assert describe_lesion_classes(found.classes, found.settings).startswith("lesions are counted for no class (")
