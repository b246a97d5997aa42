"""Which scans belong to one patient: the sources in their order, and everything that may be wrong with them."""

import json

import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation import evaluate
from ser_nnunet.evaluation.labels import read_labels
from ser_nnunet.evaluation.patients import describe_patients, find_patients, read_groups
from ser_nnunet.evaluation.text_tables import format_summary
from tests.dataset_conversion.builders import BUILDERS
from tests.dataset_conversion.helpers import convert_sample
from tests.evaluation.cohort import FAST, OVERLAP, random_label_map, write_cohort

CASES = ["a", "b", "c", "d"]


@pytest.fixture(autouse=True)
def no_raw_folder(monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)


@pytest.fixture
def cohort(tmp_path):
    reference = {case: random_label_map(number) for number, case in enumerate(CASES)}
    return write_cohort(tmp_path / "Dataset007_Scans", reference, {case: random_label_map(9) for case in CASES})


def find(cohort, given=None, cases=CASES):
    return find_patients(cases, cohort / "labelsTr", read_labels(cohort / "dataset.json"), given)


def write_conversion(folder, patients):
    cases = {case: {"patient": patient, "split": "train", "files": []} for case, patient in patients.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "conversion.json").write_text(json.dumps({"cases": cases}))
    return folder / "conversion.json"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("groups.json", '{"a": "P1", "b": "P1", "c": 2, "d": "P3"}'),
        ("groups.csv", "\ufeffpatient,case,age\nP1,a,40\nP1, b,41\n2,c,50\nP3,d,60\n"),
        ("groups.csv", "case;patient;weight\na;P1;1,5\nb; P1;2\nc;2;3\nd;P3;4\n"),
        ("groups.TSV", "case\tpatient\na\tP1\nb\tP1\nc\t2\nd\tP3\n"),
    ],
)
def test_a_file_names_the_patients_whatever_its_format(cohort, tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    write_conversion(cohort, dict.fromkeys(CASES, "another"))
    patients = find(cohort, tmp_path / name)
    assert patients.of_case == {"a": "P1", "b": "P1", "c": "2", "d": "P3"}
    assert patients.source == tmp_path / name and patients.problems == []


def test_all_problems_of_a_file_are_named_at_once(cohort, tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text("case,patient\na,P1\na,P2\nb,\nx,P1\ny,P1\n")
    assert find(cohort, file).problems == [
        f"{file}: several patients for a (1)",
        f"{file}: no patient for b, c, d (3)",
    ]
    assert find(cohort, file, cases=["a"]).problems == [f"{file}: several patients for a (1)"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("groups.csv", "a;P1\nb;P1\n"),
        ("groups.csv", ""),
        ("groups.csv", "case,patient\na\n"),
        ("groups.json", '["a", "b"]'),
        ("groups.json", '{"a": {"patient": "P1"}}'),
        ("groups.json", '{"a": null}'),
        ("groups.json", '{"a": '),
        ("absent.csv", None),
    ],
)
def test_a_file_in_another_form_is_refused(tmp_path, name, text):
    if text is not None:
        (tmp_path / name).write_text(text)
    rows, problems = read_groups(tmp_path / name)
    if rows:  # a row without a patient is reported by case
        assert rows == [("a", "")]
    else:
        assert len(problems) == 1 and 'JSON {"case": "patient"}, or CSV or TSV with the columns' in problems[0]
        assert "KeyError" not in problems[0]


def test_conversion_json_is_found_beside_the_references_and_in_nnunet_raw(cohort, tmp_path, monkeypatch):
    assert find(cohort).of_case == {case: case for case in CASES} and find(cohort).source is None
    raw = tmp_path / "raw"
    monkeypatch.setenv("nnUNet_raw", str(raw))
    twins = {"a": "P1", "b": "P1", "c": "P2", "d": "P2", "in the test set": "P3"}
    in_raw = write_conversion(raw / cohort.name, twins)
    assert find(cohort).source == in_raw and find(cohort).of_case == {case: twins[case] for case in CASES}
    beside = write_conversion(cohort, dict.fromkeys(CASES, "one"))
    assert find(cohort).source == beside
    write_conversion(cohort, {"of another data set": "P1"})
    assert find(cohort).source == in_raw
    (cohort / "conversion.json").write_text('{"cases": ["of another program"]}')
    assert find(cohort).source == in_raw
    write_conversion(cohort, {"a": "P1"})
    assert find(cohort).problems == [f"{cohort / 'conversion.json'}: no patient for b, c, d (3)"]


def test_the_converters_write_the_patients_that_are_read_here(tmp_path):
    report = convert_sample(BUILDERS["mslesseg"](tmp_path / "source"), tmp_path / "raw")
    train = {case.name: case.patient for case in report.cases if case.split == "train"}
    patients = find_patients(list(train), report.folder / "labelsTr", read_labels(report.folder / "dataset.json"))
    assert patients.of_case == train and len(set(train.values())) < len(train)


def test_the_evaluation_says_how_many_patients_there_are_and_who_says_so(cohort):
    folders = cohort / "labelsTr", cohort / "pred0"
    without = evaluate(*folders, settings=OVERLAP, **FAST)
    assert without.about["patients"] == {"source": None, "patients": 4, "scans": 4}
    assert "4 scans, each counted as a patient" in format_summary(without)
    file = write_conversion(cohort, {"a": "P1", "b": "P1", "c": "P2", "d": "P3"})
    grouped = evaluate(*folders, settings=OVERLAP, **FAST)
    assert describe_patients(grouped.about["patients"]) == (
        f"4 scans of 3 patients (patients named by {file.parent.name}/conversion.json)"
    )
    for source in ("/home/jane/groups.csv", "C:\\Users\\jane\\groups.csv"):
        assert "jane" not in describe_patients(grouped.about["patients"] | {"source": source}), "tables are shared"
    assert describe_patients(grouped.about["patients"]) in format_summary(grouped)
    assert set(grouped.summary["patients"]) == {3} and set(grouped.summary["n"]) == {4}
    assert grouped.values("Dice", "anterior", index="patient").index.tolist() == ["P1", "P1", "P2", "P3"]


def test_cases_without_patient_are_reported_with_all_other_problems_and_nothing_is_evaluated(cohort, tmp_path):
    (tmp_path / "groups.json").write_text('{"a": "P1", "b": "P1", "x": "P2"}')
    (cohort / "pred0" / "d.nii.gz").unlink()
    with pytest.raises(UserError) as raised:
        evaluate(cohort / "labelsTr", cohort / "pred0", patients=tmp_path / "groups.json", settings=OVERLAP, **FAST)
    assert "no case without reference" not in str(raised.value)  # a file may name further cases
    for problem in ("missing predictions", "no patient for c, d (2)", "A file for --groups"):
        assert problem in str(raised.value)
