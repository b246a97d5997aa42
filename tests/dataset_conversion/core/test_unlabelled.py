"""Scans without labels: training cases that are ignored everywhere, trained on without leaking into validation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.preprocessing.cropping.cropping import create_nonzero_mask

from ser_nnunet.cli import main
from ser_nnunet.dataset_conversion import ConversionError, Description, FolderLayout, convert
from ser_nnunet.dataset_conversion.core.unlabelled import find_patient, make_key
from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.labels import read_labels
from ser_nnunet.verification import verify
from tests.conftest import REPOSITORY
from tests.dataset_conversion.builders import BUILDERS, msd_prostate, mslesseg, multisite_prostate, pancreas_nifti
from tests.dataset_conversion.helpers import convert_sample, count_label_values, hash_tree
from tests.dataset_conversion.volumes import TILTED, ct_image, image_of, mask, save, scalar_image
from tests.verification.samples import change_voxels

TWO = ["FLAIR", "T1"]


def write_scans(folder: Path, cases: list[str], channels: int, ending: str = ".nii.gz") -> Path:
    """Write scans as in nnU-Net's imagesTs, with negative values as CT has them."""
    for seed, case in enumerate(cases):
        for channel in range(channels):
            image = image_of(ct_image(500 + 10 * seed + channel, mask(seed)), direction=TILTED)
            save(image, folder / f"{case}_{channel:04d}{ending}")
    return folder


def read_json(file: Path) -> dict:
    return json.loads(file.read_text())


def read_content(folder: Path, case: str, channels: int) -> np.ndarray:
    """Return what nnU-Net takes for the content of a case's images."""
    files = [folder / f"imagesTr/{case}_{channel:04d}.nii.gz" for channel in range(channels)]
    return create_nonzero_mask(np.stack([sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in files]))


@pytest.mark.parametrize("name", BUILDERS)
def test_every_converter_adds_them_to_training_and_never_to_validation(name: str, tmp_path: Path):
    sample = BUILDERS[name](tmp_path / "source")
    channels = len(convert_sample(sample, tmp_path / "raw", dry_run=True).info.channels)
    scans = write_scans(tmp_path / "scans", ["new_1", "new_2"], channels)
    before = hash_tree(scans)
    folder = convert_sample(sample, tmp_path / "raw", unlabelled=scans).folder
    assert hash_tree(scans) == before
    labels, content = read_labels(folder / "dataset.json"), read_json(folder / "dataset.json")
    assert labels.ignore == max(labels.values) and content["numTraining"] == len(list((folder / "labelsTr").iterdir()))
    assert any("without annotation: 2" in note for note in content["notes"]) and content["numUnannotated"] == 2
    for case in ("new_1", "new_2"):
        label = sitk.ReadImage(str(folder / f"labelsTr/{case}.nii.gz"))
        image = sitk.ReadImage(str(folder / f"imagesTr/{case}_{channels - 1:04d}.nii.gz"))
        content = read_content(folder, case, channels)
        assert (sitk.GetArrayFromImage(label) == np.where(content, labels.ignore, 0)).all() and content.mean() > 0.99
        assert label.GetPixelID() == sitk.sitkUInt8 and label.IsSameImageGeometryAs(image)
        record = read_json(folder / "conversion.json")["cases"][case]
        assert (record["split"], record["patient"], record["files"][-1]["source"]) == ("unlabelled", case, {})
        assert list(record["files"][0]["source"]) == [f"{case}_0000.nii.gz"]
    for fold in read_json(folder / "splits_final.json"):
        assert {"new_1", "new_2"} <= set(fold["train"]) and not {"new_1", "new_2"} & set(fold["val"])


def test_scans_of_a_labelled_patient_are_not_trained_on_where_the_patient_is_validated(tmp_path: Path):
    """P1 has two time points with labels; P10 is another patient."""
    scans = write_scans(tmp_path / "scans", ["P1_T3", "P10_later", "P100"], 2)
    report = convert_sample(mslesseg(tmp_path / "source"), tmp_path / "raw", unlabelled=scans, channels=TWO)
    patients = {case.name: case.patient for case in report.cases}
    assert [patients[case] for case in ("P1_T3", "P10_later", "P100")] == ["P1", "P10", "P100"]
    for fold in read_json(report.folder / "splits_final.json"):
        assert ("P1_T3" in fold["train"]) == ("P1_T1" in fold["train"])
        assert ("P10_later" in fold["train"]) == ("P10_T1" in fold["train"])
        assert "P100" in fold["train"]


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("P1", "P1"),
        ("P1_b", "P1"),
        ("P1-b", "P1"),
        ("p1_b", "P1"),
        ("P1b", "P1b"),
        ("P12_b", "P12_b"),
        ("P1_2_b", "P1_2"),
        ("xP1_b", "xP1_b"),
        ("patient19_time3", "19"),
        ("19_time3", "19"),
        ("siteA_patient7", "siteA_patient7"),
        ("A_patient7_x", "A_7"),
        ("A-B_x", "A B"),
    ],
)
def test_the_patient_is_the_longest_id_with_which_the_name_begins(case: str, patient: str):
    known = {make_key(name): name for name in ("P1", "P1_2", "19", "A_7", "A B")}
    assert find_patient(case, known) == patient


def test_all_faults_of_the_files_are_reported_at_once_and_nothing_is_written(tmp_path: Path):
    sample = mslesseg(tmp_path / "source")
    scans = write_scans(tmp_path / "scans", [*"abcdefg", "P2_T1"], 2)
    (scans / "a_0001.nii.gz").unlink()
    save(image_of(scalar_image(600)), scans / "b_0002.nii.gz")
    (scans / "README.txt").write_text("scans")
    write_scans(scans / "more", ["h"], 1)
    save(image_of(scalar_image(601)), scans / "plain.nii.gz")
    save(image_of(scalar_image(602)), scans / "c_0001.nii.gz")
    change_voxels(scans / "d_0000.nii.gz", lambda array: np.where(array < -999, np.nan, array.astype(np.float32)))
    change_voxels(scans / "e_0000.nii.gz", lambda array: array * 0)
    (scans / "f_0000.nii.gz").write_bytes((scans / "f_0000.nii.gz").read_bytes()[:-50])
    (scans / "g_0000.nii.gz").write_bytes(sample.files["P3_T1", "FLAIR"].read_bytes())
    with pytest.raises(ConversionError) as caught:
        convert_sample(sample, tmp_path / "raw", unlabelled=scans, channels=TWO)
    found = [(problem.kind, problem.case) for problem in caught.value.problems if problem.fatal]
    assert found == [
        ("NaN or Inf", "d"),
        ("case name", "P2_T1"),
        ("constant image", "e"),
        ("duplicate image", "g"),
        ("extra channel", "b"),
        ("geometry", "c"),
        ("geometry", "g"),
        ("missing image", "a"),
        ("unlabelled file", ""),
        ("unlabelled file", ""),
        ("unlabelled file", ""),
        ("unreadable", "f"),
    ]
    shown = str(caught.value)
    assert "a_0001, its T1, is missing" in shown and "b_0002.nii.gz is channel 0002, the data set has 2" in shown
    assert all(f"scans/{name}: expected is" in shown for name in ("README.txt", "plain.nii.gz", "more/h_0000.nii.gz"))
    assert not (tmp_path / "raw").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_is_an_unreadable_image_and_is_not_waited_for(tmp_path: Path):
    scans = write_scans(tmp_path / "scans", ["new"], 1)
    os.mkfifo(scans / "pipe_0000.mhd")
    with pytest.raises(ConversionError) as caught:
        convert_sample(multisite_prostate(tmp_path / "source"), tmp_path / "raw", unlabelled=scans)
    assert [(each.kind, each.case) for each in caught.value.problems if each.fatal] == [("unreadable", "pipe")]


def test_a_scan_of_a_test_patient_is_refused_unless_one_of_the_two_is_excluded(tmp_path: Path):
    sample, scans = mslesseg(tmp_path / "source"), write_scans(tmp_path / "scans", ["P54_T2", "new"], 2)
    options = {"unlabelled": scans, "channels": TWO, "dry_run": True}
    with pytest.raises(ConversionError, match="patient P54: unlabelled has P54_T2; test has P54"):
        convert_sample(sample, tmp_path / "raw", **options)
    for excluded in ("P54_T2", "P54"):
        report = convert_sample(sample, tmp_path / "raw", exclude=[excluded], **options)
        assert len(report.cases) == len(sample.cases) + 1


@pytest.mark.parametrize("ending", [".nii", ".mha", ".mhd"])
def test_other_formats_are_repacked(ending: str, tmp_path: Path):
    scans = write_scans(tmp_path / "scans", ["new"], 1, ending)
    folder = convert_sample(multisite_prostate(tmp_path / "source"), tmp_path / "raw", unlabelled=scans).folder
    files = scans / f"new_0000{ending}", folder / "imagesTr/new_0000.nii.gz"
    source, image = (sitk.ReadImage(str(file)) for file in files)
    assert (sitk.GetArrayFromImage(source) == sitk.GetArrayFromImage(image)).all()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "nowhere: it is no folder"),
        ("source", "is SOURCE itself"),
        ("empty", "it holds no files; images CASE_0000"),
        ("raw", r"it holds 1 files, such as label\.nii\.gz; images CASE_0000"),
        ("raw/Dataset701_MultiSiteProstate/imagesTr", "is where the data set would be written"),
    ],
)
def test_an_impossible_folder_is_refused(place: str, message: str, tmp_path: Path):
    sample = multisite_prostate(tmp_path / "source")
    (tmp_path / "empty").mkdir()
    save(image_of(mask(0)), tmp_path / "raw/label.nii.gz")
    earlier = write_scans(tmp_path / "raw/Dataset701_MultiSiteProstate/imagesTr", ["new"], 1)
    if place == "raw":
        earlier = tmp_path / "raw/label.nii.gz"
        hidden = tmp_path / "raw/Dataset701_MultiSiteProstate"
        hidden.rename(tmp_path / "raw/.hidden")
    with pytest.raises(UserError, match=message):
        convert_sample(sample, tmp_path / "raw", unlabelled=tmp_path / place, overwrite=True)
    assert earlier.exists()


def test_a_folder_inside_the_source_holds_no_labelled_cases(tmp_path: Path):
    sample = pancreas_nifti(tmp_path / "source")
    scans = write_scans(sample.source / "scans", ["PANCREAS_0099"], 1)
    report = convert_sample(sample, tmp_path / "raw", unlabelled=scans, dry_run=True)
    assert {case.name: case.split for case in report.cases}["PANCREAS_0099"] == "unlabelled"


def test_regions_and_an_ignore_label_that_exists_are_kept(tmp_path: Path):
    sample = msd_prostate(tmp_path / "source")
    scans = write_scans(tmp_path / "scans", ["new"], 2)
    content = read_json(
        convert_sample(sample, tmp_path / "raw", unlabelled=scans, classes="regions").folder / "dataset.json"
    )
    assert content["labels"] == {"background": 0, "prostate": [1, 2], "TZ": 2, "ignore": 3}
    assert content["regions_class_order"] == [1, 2]
    for seed, patient in enumerate("xyz"):
        save(image_of(scalar_image(seed)), tmp_path / f"partly/{patient}_T2.nii.gz")
        save(image_of(mask(seed) * (1 + seed % 2)), tmp_path / f"partly/{patient}_seg.nii.gz")
    description = Description({"lesion": 1, "ignore": 2})
    layout = FolderLayout({"T2": "{patient}_T2.nii.gz"}, "{patient}_seg.nii.gz", description)
    one = write_scans(tmp_path / "one", ["new"], 1)
    options = {"dataset": "folders", "layout": layout, "raw": tmp_path / "raw", "processes": 1, "unlabelled": one}
    folder = convert(tmp_path / "partly", 702, **options).folder
    assert set(count_label_values(folder, "new")) == {2} and set(count_label_values(folder, "y")) == {0, 2}


def test_they_do_not_count_as_cases_of_the_release(tmp_path: Path):
    sample = multisite_prostate(tmp_path / "source")
    scans = write_scans(tmp_path / "scans", [f"new_{number}" for number in range(5)], 1)
    report = convert_sample(sample, tmp_path / "raw", unlabelled=scans, exclude=["new_0"], dry_run=True)
    assert "train: 12 of the official 116 cases" in [note.text for note in report.notes]


def test_the_table_and_the_summary_show_them(tmp_path: Path, capsys):
    sample, scans = pancreas_nifti(tmp_path / "source"), write_scans(tmp_path / "scans", ["new"], 1)
    command = ["convert", "pancreas-ct", str(sample.source), "-d", "9", "-np", "1", "--dry-run", "--unlabelled"]
    assert main([*command, str(scans)]) == 0
    shown = capsys.readouterr().out
    assert "new            new            unlabelled  scans/new_0000.nii.gz" in shown
    assert "5 training cases of 5 patients, 1 without annotation, no test cases" in shown
    assert "cases without annotation count with all their voxels, air included" in shown
    assert main([*command, str(scans), "--exclude", "new"]) == 0
    shown = capsys.readouterr().out
    assert "ignore" not in shown and "without annotation" not in shown


CHECK = """
import json, sys
import torch
from ser_nnunet.nnunet.annotated_cases import find_unannotated
from ser_nnunet.training.semi_trainer import SERTrainerSemiNoSAM
from ser_nnunet.training.variants import SERTrainerNoSAM
names = ("nnUNetPlans", "dataset", "splits_final")
plans, dataset, folds = (json.load(open(f"{sys.argv[1]}/{name}.json")) for name in names)
found = {}
for trainer_class in (SERTrainerNoSAM, SERTrainerSemiNoSAM):
    trainer = trainer_class(plans | {"continue_training": False}, "2d", 0, dataset, device=torch.device("cpu"))
    found[trainer_class.__name__] = trainer.do_split()
cases = {case for fold in folds for part in fold.values() for case in part}
found["unannotated"] = find_unannotated(trainer.preprocessed_dataset_folder, sorted(cases), trainer.label_manager)
print(json.dumps(found))
"""


def test_the_content_of_their_images_is_what_nnunet_takes_for_it(tmp_path: Path):
    scans = write_scans(tmp_path / "scans", ["new"], 2)
    empty_a_corner(scans)
    folder = convert_sample(mslesseg(tmp_path / "source"), tmp_path / "raw", unlabelled=scans, channels=TWO).folder
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr/new.nii.gz")))
    content = read_content(folder, "new", 2)
    assert 0 < content.sum() < content.size and (label[content] == 2).all() and (label[~content] == 0).all()
    assert verify(folder).about["unannotated_cases"] == 1


def empty_a_corner(scans: Path) -> None:
    """Write 0 into a corner of both channels of `new`, into a hole of both, and into one more voxel of the first."""
    both = np.s_[:2, :, 5:], np.s_[3, 2, 2]
    for channel, places in ((0, (*both, np.s_[0, 0, 0])), (1, both)):

        def change(array: np.ndarray, places: tuple = places) -> np.ndarray:
            array = array.copy()
            for place in places:
                array[place] = 0
            return array

        change_voxels(scans / f"new_000{channel}.nii.gz", change)


@pytest.mark.slow
def test_nnunet_preprocesses_them_and_only_semi_supervised_training_keeps_them(tmp_path: Path):
    scans = write_scans(tmp_path / "scans", ["P1_T3", "new"], 2)
    empty_a_corner(scans)
    folder = convert_sample(mslesseg(tmp_path / "source"), tmp_path / "raw", unlabelled=scans, channels=TWO).folder
    folders = {f"nnUNet_{name}": str(tmp_path / name) for name in ("raw", "preprocessed", "results")}
    preprocessed = tmp_path / "preprocessed" / folder.name
    arguments = ["-d", "701", "-c", "2d", "--verify_dataset_integrity", "-npfp", "1", "-np", "1"]
    plan = ["-m", "tests.nnunet_small", "nnUNetv2_plan_and_preprocess", *arguments]
    for given in (plan, ["-c", CHECK, str(preprocessed)]):
        environment = {**os.environ, **folders, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *given]
        done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    split = read_json(folder / "splits_final.json")[0]
    assert found["unannotated"] == ["P1_T3", "new"] and "new" in split["train"]
    without = [case for case in split["train"] if case not in found["unannotated"]]
    assert found["SERTrainerNoSAM"] == [without, split["val"]]
    assert found["SERTrainerSemiNoSAM"] == [split["train"], split["val"]]
