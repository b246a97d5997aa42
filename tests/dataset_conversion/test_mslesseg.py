"""MSLesSeg: names with two meanings, the clinical table, several scans per patient, and real scans."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import SimpleITK as sitk

from ser_nnunet.dataset_conversion import ConversionError, convert
from ser_nnunet.errors import UserError
from tests.dataset_conversion.builders import LABEL, SampleDataset, mslesseg
from tests.dataset_conversion.helpers import convert_sample, mslesseg_cases


@pytest.fixture
def sample(tmp_path: Path) -> SampleDataset:
    return mslesseg(tmp_path / "source")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


def voxels(path: Path) -> list:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).tolist()


def test_channels_are_written_in_the_order_asked_for(sample: SampleDataset, raw: Path):
    folder = convert_sample(sample, raw, channels=["t2", "FLAIR"]).folder
    assert json.loads((folder / "dataset.json").read_text())["channel_names"] == {"0": "T2", "1": "FLAIR"}
    for channel, role in enumerate(("T2", "FLAIR")):
        source = sitk.GetArrayFromImage(sample.truth["P54", role]).tolist()
        assert voxels(folder / "imagesTs" / f"P54_{channel:04d}.nii.gz") == source


def test_a_missing_channel_is_a_problem_only_if_it_is_chosen(sample: SampleDataset, raw: Path):
    sample.files["P2_T1", "T2"].unlink()
    with pytest.raises(ConversionError, match=r"P2_T1: .*lacks T2 \(has FLAIR, T1\)"):
        convert_sample(sample, raw)
    assert len(convert_sample(sample, raw, channels=["FLAIR", "T1"]).cases) == 9


@pytest.mark.parametrize("channels", [["PD"], ["FLAIR", "flair"]])
def test_unknown_or_doubled_channels_are_refused(sample: SampleDataset, raw: Path, channels: list[str]):
    with pytest.raises(UserError, match="choose among FLAIR T1 T2, each once"):
        convert_sample(sample, raw, channels=channels)


def test_scans_of_one_patient_stay_in_one_fold(sample: SampleDataset, raw: Path):
    """P1 has most scans and a fold of its own; P10, whose name begins like P1's, is another patient."""
    assert ["P1_T1", "P1_T2"] in [fold["val"] for fold in convert_sample(sample, raw).splits]


def test_files_that_are_right_are_copied_byte_for_byte_and_masks_become_uint8(sample: SampleDataset, raw: Path):
    folder = convert_sample(sample, raw).folder
    assert (folder / "imagesTr" / "P1_T2_0002.nii.gz").read_bytes() == sample.files["P1_T2", "T2"].read_bytes()
    label = sitk.ReadImage(str(folder / "labelsTs" / "P55.nii.gz"))
    assert label.GetPixelID() == sitk.sitkUInt8
    assert sitk.GetArrayFromImage(label).tolist() == sitk.GetArrayFromImage(sample.truth["P55", LABEL]).tolist()


def test_without_the_clinical_table_it_is_noted_that_volumes_were_not_compared(sample: SampleDataset, raw: Path):
    next(sample.source.rglob("clinical_data.csv")).unlink()
    assert "clinical_data.csv is not there" in str(convert_sample(sample, raw).notes)


def test_a_table_in_another_dialect_is_an_error_and_not_a_skipped_check(sample: SampleDataset, raw: Path):
    table = next(sample.source.rglob("clinical_data.csv"))
    table.write_text(table.read_text().replace(";", "\t"))
    with pytest.raises(UserError, match="lacks Lesion Volume, Patient, Timepoint; expected columns separated by ';'"):
        convert_sample(sample, raw)


def test_a_table_that_is_not_utf8_is_named(sample: SampleDataset, raw: Path):
    table = next(sample.source.rglob("clinical_data.csv"))
    table.write_bytes(table.read_bytes().replace(b"SMRR", "SMRR, fr\u00fch".encode("latin-1")))
    with pytest.raises(UserError, match=r"info_dataset/clinical_data\.csv is no table in UTF-8 .*: download it again"):
        convert_sample(sample, raw)


def test_masks_that_the_table_does_not_list_are_named(sample: SampleDataset, raw: Path):
    table = next(sample.source.rglob("clinical_data.csv"))
    rows = table.read_text().splitlines()
    without_row = [row for row in rows if not row.startswith("P2;")]
    without_volume = [re.sub(r";\d+\.0;", ";;", row) if row.startswith("P54;") else row for row in without_row]
    table.write_text("\n".join(without_volume))
    notes = [note for note in convert_sample(sample, raw).notes if note.kind == "mask volume"]
    assert [note.case for note in notes] == ["P2_T1", "P54"] and "was not compared" in notes[0].text


def test_a_test_scan_without_mask_is_kept_for_prediction(sample: SampleDataset, raw: Path):
    sample.files["P54", LABEL].unlink()
    report = convert_sample(sample, raw)
    assert (report.folder / "imagesTs" / "P54_0000.nii.gz").exists()
    assert [path.name for path in (report.folder / "labelsTs").iterdir()] == ["P55.nii.gz"]
    assert "it can be predicted, not evaluated" in str(report.notes)


def test_a_file_outside_the_layout_is_named_and_not_used(sample: SampleDataset, raw: Path):
    path = sample.files["P2_T1", "T1"]
    path.with_name("P2_T1_PD.nii.gz").write_bytes(path.read_bytes())
    report = convert_sample(sample, raw)
    assert "P2/T1/P2_T1_PD.nii.gz is not part of the layout" in str(report.notes)
    assert len(list((report.folder / "imagesTr").glob("P2_T1_*"))) == 3


def test_without_train_and_test_folders_the_numbering_gives_the_split(sample: SampleDataset, raw: Path, tmp_path: Path):
    flat = SampleDataset("mslesseg", tmp_path / "flat", sample.options)
    for (case, role), image in sample.truth.items():
        flat.add(case, role, image, flat.source / sample.files[case, role].name)
    splits = {case.name: case.split for case in convert_sample(flat, raw).cases}
    assert {name for name, split in splits.items() if split == "test"} == {"P54", "P55"}


def test_training_patients_in_a_folder_for_testing_are_a_problem(sample: SampleDataset, raw: Path):
    home = sample.files["P1_T1", LABEL].parents[3]
    (home / "train").rename(home / "testing data")
    with pytest.raises(ConversionError) as caught:
        convert_sample(sample, raw)
    text = "testing data/P3/T1 lies in a folder for test, by its number P3 is for train"
    assert f"P3_T1: {home.relative_to(sample.source)}/{text}" in str(caught.value)
    assert "none of 9 cases is for training" in str(caught.value) and "P54" not in str(caught.value)


def test_train_and_test_must_be_whole_words_of_a_folders_name(sample: SampleDataset, raw: Path):
    home = sample.files["P1_T1", LABEL].parents[3]
    (home / "train").rename(home / "latest")
    (home / "test").rename(home / "trainees")
    assert {case.name for case in convert_sample(sample, raw).cases if case.split == "test"} == {"P54", "P55"}


@pytest.mark.data
def test_real_mslesseg_headers(real_data: Path, tmp_path: Path):
    source = real_data / "mslesseg"
    with pytest.raises(ConversionError, match=r"1 problem, nothing(?s:.*)P18_T1: .* lacks T2"):
        convert(source, 801, dataset="mslesseg", raw=tmp_path, processes=1)
    assert not list(tmp_path.iterdir())
    report = convert(source, 801, dataset="mslesseg", channels=["FLAIR", "T1"], raw=tmp_path, processes=1)
    assert {"P14_T2", "P14_T3"} in [set(fold["val"]) for fold in report.splits]
    image = "P18/T1/P18_T1_FLAIR.nii.gz"
    assert (report.folder / "imagesTr/P18_T1_0000.nii.gz").read_bytes() == (source / "train" / image).read_bytes()
    label = sitk.ReadImage(str(report.folder / "labelsTr/P18_T1.nii.gz"))
    assert label.GetPixelID() == sitk.sitkUInt8 and int(sitk.GetArrayViewFromImage(label).sum()) == 770


@pytest.mark.data
def test_the_time_points_assumed_for_the_folds_are_the_real_ones(real_data: Path):
    rows = (real_data / "mslesseg/info_dataset/clinical_data.csv").read_text(encoding="utf-8-sig").splitlines()
    scans = ["_".join(row.split(";")[:2]) for row in rows if row.startswith("P") and row[1].isdigit()]
    assert {name for name in scans if int(name.split("_")[0][1:]) < 54} == {case.name for case in mslesseg_cases()}
