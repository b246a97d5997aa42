"""Any folder by patterns: identities, folds by patient, test cases, values, and errors that show what is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ser_nnunet.cli import main
from ser_nnunet.dataset_conversion import ConversionError, Description, FolderLayout, convert
from ser_nnunet.dataset_conversion.core import class_options, problems
from ser_nnunet.errors import UserError
from tests.dataset_conversion.helpers import count_label_values, hash_tree
from tests.dataset_conversion.volumes import image_of, mask, save, scalar_image

LESION = Description({"lesion": 1})
SCANS = [("01", "1"), ("01", "2"), ("02", "1"), ("03", "1"), ("04", "1"), ("05", "1"), ("06", "1")]


@pytest.fixture
def source(tmp_path: Path, monkeypatch) -> Path:
    """Seven scans of six patients; the last two patients are for testing."""
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    for seed, (patient, time) in enumerate(SCANS):
        folder = tmp_path / "source" / ("Testing" if patient > "04" else "Training") / f"patient{patient}"
        for offset, channel in enumerate(("flair", "t1")):
            image = (scalar_image(10 * seed + offset) / 10 + 200 * mask(seed)).astype(np.float32)
            save(image_of(image), folder / f"{patient}_{time}_{channel}.nii.gz")
        save(image_of(mask(seed) * 255), folder / f"{patient}_{time}_mask.nii.gz")
    return tmp_path / "source"


def run(source: Path, *more: str, label: str = "{patient}_{time}_mask.nii.gz", flair: str = "flair") -> int:
    pattern = "patient{patient}/{patient}_{time}_"
    channels = ["--channel", "FLAIR", f"{pattern}{flair}.nii.gz", "--channel", "T1", f"{pattern}t1.nii.gz"]
    classes = ["--labels", "background=0", "lesion=1", "--map", "255=1"]
    command = ["convert", "folders", str(source), "-d", "600", "--name", "Hospital", "-np", "1", *channels]
    return main([*command, "--label", label, *classes, *more])


def test_cases_channels_values_and_folds(source: Path, tmp_path: Path):
    before = hash_tree(source)
    assert run(source, "--test", "Testing", "--licence", "CC0") == 0
    folder = tmp_path / "raw" / "Dataset600_Hospital"
    content = json.loads((folder / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "FLAIR", "1": "T1"} and content["licence"] == "CC0"
    assert content["labels"] == {"background": 0, "lesion": 1} and content["numTraining"] == 5
    assert count_label_values(folder, "patient01_time2")[1] == mask(1).sum()
    assert sorted(path.name for path in (folder / "imagesTs").iterdir())[:2] == [
        "patient05_time1_0000.nii.gz",
        "patient05_time1_0001.nii.gz",
    ]
    for fold in json.loads((folder / "splits_final.json").read_text()):
        assert len({"patient01_time1", "patient01_time2"} & set(fold["val"])) != 1
    record = json.loads((folder / "conversion.json").read_text())
    assert (
        record["options"]["layout"]["test"] == ["Testing"] and "reference" in record["options"]["layout"]["description"]
    )
    assert record["cases"]["patient01_time2"]["patient"] == "01"
    assert hash_tree(source) == before


def test_a_dry_run_writes_nothing(source: Path, tmp_path: Path, capsys):
    assert run(source, "--dry-run") == 0
    assert "patient06_time1  06" in capsys.readouterr().out and not (tmp_path / "raw").exists()


def test_patterns_without_matches_are_all_named_with_the_nearest_files(source: Path, tmp_path: Path, capsys):
    assert run(source, "--test", "Validation", flair="FLAIR", label="{patient}_{time}_lesion.nii.gz") == 2
    shown = capsys.readouterr().err
    assert "FLAIR: no file matches 'patient{patient}/{patient}_{time}_FLAIR.nii.gz'; nearest are" in shown
    assert "Testing/patient05/05_1_flair.nii.gz" in shown or "Training/patient01/01_1_flair.nii.gz" in shown
    assert "label: no file matches" in shown and "T1: no file" not in shown
    assert "--test: no file or folder matches 'Validation'; folders are Testing, Training" in shown
    assert not (tmp_path / "raw").exists()


def test_a_case_that_lacks_a_channel_is_named_and_the_unused_file_beside_it_comes_first(source: Path, capsys):
    file = source / "Training/patient03/03_1_t1.nii.gz"
    file.rename(file.with_name("03_1_T1.nii.gz"))
    save(image_of(scalar_image(99)), source / "another.nii.gz")
    assert run(source) == 2
    shown = capsys.readouterr().err
    assert "patient03_time1: Training/patient03 lacks T1 (has FLAIR)" in shown
    assert "2 images match no pattern and are not used: Training/patient03/03_1_T1.nii.gz, another.nii.gz" in shown


def test_one_image_that_no_pattern_matches_is_noted_in_the_singular(source: Path, capsys):
    save(image_of(scalar_image(99)), source / "another.nii.gz")
    assert run(source, "--dry-run") == 0
    assert "1 image matches no pattern and is not used: another.nii.gz" in capsys.readouterr().out


def test_a_file_twice_and_a_file_of_two_patterns_are_errors(source: Path, capsys):
    save(image_of(scalar_image(0)), source / "copy/patient01/01_1_flair.nii.gz")
    assert run(source) == 2
    assert "2 files are its FLAIR: Training/patient01/01_1_flair.nii.gz, copy/patient01/" in capsys.readouterr().err
    assert run(source, label="{patient}_{time}_*.nii.gz") == 2
    assert "01_1_flair.nii.gz matches the patterns of FLAIR and label" in capsys.readouterr().err


def test_the_shared_checks_apply(source: Path, capsys):
    save(image_of(mask(2) * 7), source / "Training/patient02/02_1_mask.nii.gz")
    save(image_of(mask(3) * 0), source / "Training/patient03/03_1_mask.nii.gz")
    assert run(source) == 2
    shown = capsys.readouterr().err
    assert "02_1_mask.nii.gz holds 7" in shown and "--map FOUND=WRITTEN" in shown
    assert "03_1_mask.nii.gz has no foreground voxel" in shown and "--allow-empty-masks" in shown
    assert run(source, "--exclude", "patient02_time1", "--allow-empty-masks") == 0


def test_axes_that_are_not_perpendicular_are_refused_with_the_reason_and_a_remedy(source: Path, capsys):
    file = source / "Training/patient02/02_1_flair.nii.gz"
    affine = np.array([[0.8, 0.2, 0, -12], [0, 0.9, 0, 30], [0, 0, 2.5, -7], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(np.asarray(nibabel.load(file).dataobj), affine), file)
    assert run(source) == 2
    shown = capsys.readouterr().err
    assert "02_1_flair.nii.gz: its axes are not perpendicular to each other (a sheared affine)" in shown
    assert "resample image and label to perpendicular axes" in shown and "download" not in shown


def test_one_mask_of_two_scans_is_noted_for_one_patient_and_an_error_for_two(source: Path, capsys):
    """Follow-up scans that were registered onto the first one may share its mask."""
    shared = source / "Training/patient01/01_1_mask.nii.gz"
    shutil.copyfile(shared, shared.with_name("01_2_mask.nii.gz"))
    assert run(source) == 0
    text = "patient01_time2: 01_2_mask.nii.gz has the same voxels as 01_1_mask.nii.gz of patient01_time1"
    assert f"{text} of the same patient\n" in capsys.readouterr().out
    shutil.copyfile(shared, source / "Training/patient02/02_1_mask.nii.gz")
    assert run(source, "--overwrite") == 2
    shown = capsys.readouterr().err
    assert "patient02_time1: 02_1_mask.nii.gz has the same voxels as 01_1_mask.nii.gz of patient01_time1\n" in shown


def test_one_image_of_two_scans_is_an_error_for_one_patient_too(source: Path, capsys):
    for channel in ("flair", "t1"):
        file = source / f"Training/patient01/01_1_{channel}.nii.gz"
        shutil.copyfile(file, file.with_name(f"01_2_{channel}.nii.gz"))
    assert run(source) == 2
    assert "duplicate image (2)" in capsys.readouterr().err


@pytest.mark.parametrize("kind", sorted({*problems.ADVICE} - {"too few cases"}))  # which concerns known data sets
def test_nobody_is_told_to_download_own_data_again(kind: str):
    assert "download" not in {**problems.ADVICE, **class_options.ADVICE}[kind]


def test_a_flipped_mask_is_noted(source: Path, capsys):
    save(image_of(mask(2)[:, ::-1].copy()), source / "Training/patient02/02_1_mask.nii.gz")
    assert run(source) == 0
    assert "02_1_mask.nii.gz: flipped along y it would fit the image better" in capsys.readouterr().out


def test_scans_without_labels_are_of_the_patient_in_their_names(source: Path, tmp_path: Path):
    """Patient 01 has two scans, patient01_time1 and patient01_time2; 06 is a test case."""
    for number, name in enumerate(("patient01_time3", "01_later", "07")):
        for channel in range(2):
            save(image_of(scalar_image(500 + 2 * number + channel)), tmp_path / f"scans/{name}_{channel:04d}.nii.gz")
    assert run(source, "--test", "Testing", "--unlabelled", str(tmp_path / "scans")) == 0
    for fold in json.loads((tmp_path / "raw/Dataset600_Hospital/splits_final.json").read_text()):
        added = {"patient01_time3", "01_later", "07"} & set(fold["train"])
        assert added == ({"07"} if "patient01_time1" in fold["val"] else {"patient01_time3", "01_later", "07"})
    for channel in range(2):
        save(image_of(scalar_image(600 + channel)), tmp_path / f"scans/patient06_b_{channel:04d}.nii.gz")
    assert run(source, "--test", "Testing", "--unlabelled", str(tmp_path / "scans"), "--overwrite") == 2


def test_sites_tell_patients_of_equal_numbers_apart(tmp_path: Path):
    for seed, site in enumerate(("A", "B", "C")):
        save(image_of(scalar_image(seed)), tmp_path / "source" / site / "1.nii.gz")
        save(image_of(mask(seed)), tmp_path / "source" / site / "1_seg.nii.gz")
    layout = FolderLayout({"T2": r"{site}/{patient:\d+}.nii.gz"}, "{site}/{patient}_seg.nii.gz", LESION)
    report = convert(tmp_path / "source", 600, dataset="folders", layout=layout, processes=1, dry_run=True)
    assert [(case.name, case.patient, case.site) for case in report.cases] == [
        ("A_patient1", "A_1", "A"),
        ("B_patient1", "B_1", "B"),
        ("C_patient1", "C_1", "C"),
    ]


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (None, "needs patterns"),
        (
            FolderLayout({"T1": "P{patient}.nii"}, "{patient}_{time}.nii", LESION),
            "same placeholders.*label: {patient}, {t",
        ),
        (FolderLayout({"T1": "P*.nii"}, "S*.nii", LESION), "patterns of T1, label lack {patient}"),
        (FolderLayout({"label": "{patient}.nii"}, "{patient}_s.nii", LESION), "a channel needs another name"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(source: Path, layout, message: str):
    with pytest.raises(UserError, match=f"(?s){message}"):
        convert(source, 600, dataset="folders", layout=layout, dry_run=True)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (Description({"lesion": 2}), "the values are 0, 2, nnU-Net needs 0, 1, 2"),
        (Description({}), "at least one class besides background"),
        (Description({"whole": (1, 2), "core": 2}), "regions need --regions-class-order with 2 values"),
        (
            Description({"core": 2, "whole": (1, 2)}, regions_class_order=(1, 2)),
            r"core=2 as 1, whole=1,2 as 2\. .* Right is: labels whole=1,2 core=2 with regions_class_order 1 2",
        ),
        (Description({"whole": (1, 2), "core": 2}, regions_class_order=(7, 9)), r"1 \(whole\) as 7 \(no region\)"),
        (Description({"lesion": 1}, regions_class_order=(1,)), "--regions-class-order is for regions"),
        (Description({"lesion": 1}, value_map={255: 3}), "--map leads to 3, which no class has"),
        (Description({"background": 1, "lesion": 2}), "background must be 0"),
        (Description({"ignore": 1, "lesion": 2}), "ignore must be the highest value, 2"),
    ],
)
def test_classes_that_nnunet_would_refuse_are_an_error(source: Path, description: Description, message: str):
    layout = FolderLayout({"T1": "{patient}_{time}_t1.nii.gz"}, "{patient}_{time}_mask.nii.gz", description)
    with pytest.raises(UserError, match=message):
        convert(source, 600, dataset="folders", layout=layout, dry_run=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--labels", "lesion"], "NAME=VALUE expected"),
        (["--labels", "a=1", "a=2"], "names a twice"),
        (["--map", "255"], "FOUND=WRITTEN expected"),
    ],
)
def test_words_that_are_no_classes_or_values_are_an_error(source: Path, capsys, words: list[str], message: str):
    assert run(source, *words) == 2
    assert message in capsys.readouterr().err


def test_options_of_other_data_sets_are_refused(source: Path):
    layout = FolderLayout({"T1": "{patient}_{time}_t1.nii.gz"}, "{patient}_{time}_mask.nii.gz", LESION)
    with pytest.raises(UserError, match="channels and classes of folders are part of its `layout`"):
        convert(source, 600, dataset="folders", layout=layout, channels=["T1"], dry_run=True)
    with pytest.raises(UserError, match="the layout of msd is known"):
        convert(source, 600, dataset="msd", layout=layout, dry_run=True)


def test_regions_reach_dataset_json(tmp_path: Path):
    for seed in range(2):
        label = mask(seed)
        label[3] *= 2
        save(image_of(scalar_image(seed)), tmp_path / f"source/P{seed}_T2.nii.gz")
        save(image_of(label), tmp_path / f"source/P{seed}_seg.nii.gz")
    description = Description({"whole": (1, 2), "core": 2}, regions_class_order=(1, 2))
    layout = FolderLayout({"T2": "{patient}_T2.nii.gz"}, "{patient}_seg.nii.gz", description)
    options = {"dataset": "folders", "layout": layout, "processes": 1, "raw": tmp_path / "raw"}
    report = convert(tmp_path / "source", 600, **options)
    content = json.loads((report.folder / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "whole": [1, 2], "core": 2} and content["regions_class_order"] == [
        1,
        2,
    ]
    with pytest.raises(ConversionError, match="there is no case left"):
        convert(tmp_path / "source", 601, **options, exclude=["P0", "P1"])
