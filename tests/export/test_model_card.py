"""The model card states what nnU-Net measured, names no patient, runs no script, and is in and beside the file."""

import dataclasses
import json
import math
import subprocess
import sys
import zipfile
from html.parser import HTMLParser

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from ser_nnunet.cli import main
from ser_nnunet.errors import UserError
from ser_nnunet.export.model_card import make_card
from ser_nnunet.export.model_folder import read_model_folder
from ser_nnunet.runtime.model_file import open_model
from tests.export.model_folders import unet, write_model_folder
from tests.export.test_export import rewrite
from tests.runtime.toy import CLASSES, REGIONS, plan

FINAL = "checkpoint_final.pth"
# Two patients with two scans each. Labels: shell (1), core (2); core is in neither mask of Smith's first scan.
DICE = {
    "0": {"jones_1": (0.9, 0.5), "smith_1": (0.7, math.nan)},
    "1": {"jones_2": (0.8, 0.7), "smith_2": (0.4, 0.3)},
}
PATIENTS = {case: {"patient": case.split("_")[0]} for cases in DICE.values() for case in cases}


class Page(HTMLParser):
    """A page's tags, attributes, and the text of its table rows and list items."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.attributes, self.rows, self.items, self.words = set(), set(), [], [], []
        self._stack = []
        self.feed(content.decode())

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self._stack.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
        elif tag == "li":
            self.items.append("")

    def handle_endtag(self, tag):
        while self._stack and self._stack.pop() != tag:
            pass

    def handle_data(self, text):
        if {"td", "th"} & set(self._stack):
            self.rows[-1][-1] += text
        elif "li" in self._stack:
            self.items[-1] += text
        if "style" not in self._stack:
            self.words.append(text)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def write_summary(folder, fold, dice, labels=("1", "2")):
    """As nnU-Net writes it, on Windows."""
    cases = [
        {
            "prediction_file": f"C:\\results\\fold_{fold}\\validation\\{case}.nii.gz",
            "reference_file": f"C:\\gt_segmentations\\{case}.nii.gz",
            "metrics": {label: {"Dice": value} for label, value in zip(labels, values, strict=True)},
        }
        for case, values in dice.items()
    ]
    (folder / f"fold_{fold}/validation").mkdir()
    content = {"foreground_mean": {"Dice": 0.5}, "mean": {}, "metric_per_case": cases}
    (folder / f"fold_{fold}/validation/summary.json").write_text(json.dumps(content))


def validated_folder(folder, **settings):
    folder = write_model_folder(folder, plan((16, 12), architecture=unet(2, 2, 4), **settings), folds=(0, 1))
    for fold, dice in DICE.items():
        write_summary(folder, fold, dice)
    return folder


def card(folder, picture=None, report=print, **provenance):
    """The page of a model folder, without the seconds that an export takes."""
    model = read_model_folder(folder, None, FINAL)
    recipe = dataclasses.replace(model.recipe, provenance={**model.recipe.provenance, **provenance})
    model = dataclasses.replace(model, recipe=recipe)
    return make_card(model, folder, {"fold_0": b"0" * 1_200_000, "fold_1": b"1" * 1_200_000}, picture, report)


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    return validated_folder(tmp_path_factory.mktemp("validated") / "Dataset900_Toy" / "Trainer__Plans__2d")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """nnUNet_raw with the patients' names and nnUNet_preprocessed, for the data set of `plan`."""
    for name in ("raw", "preprocessed"):
        (tmp_path / name / "Dataset900_Toy").mkdir(parents=True)
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    raw = tmp_path / "raw/Dataset900_Toy"
    (raw / "conversion.json").write_text(json.dumps({"cases": PATIENTS}))
    return raw, tmp_path / "preprocessed/Dataset900_Toy"


def test_dice_is_pooled_over_the_folds_with_intervals_over_patients(validated, folders):
    """Two patients are drawn: both times the one, both times the other, or each once. The ends are their own means."""
    page = Page(card(validated))
    assert page.rows[-4:] == [
        ["Label", "mean Dice", "95 % interval", "median", "worst case", "cases"],
        ["Mean", "0.600", "0.425 to 0.725", "0.700", "0.350", "4"],
        ["shell", "0.700", "0.550 to 0.850", "0.750", "0.400", "4"],
        ["core", "0.500", "0.300 to 0.600", "0.500", "0.300", "3"],
    ]
    assert "of 4 validation cases" in page.text and "over patients, 2000 resamples; 2 patients" in page.text
    assert any(item.startswith("1 values are missing in the figures") for item in page.items)
    assert any("averages the networks of 2 folds" in item for item in page.items)


@pytest.mark.parametrize("named", [None, {"jones_1": {"patient": "jones"}}])
def test_without_complete_names_of_patients_cases_are_resampled(validated, folders, named):
    file = folders[0] / "conversion.json"
    file.unlink() if named is None else file.write_text(json.dumps({"cases": named}))
    page = Page(card(validated))
    assert page.rows[-2][2] == "0.500 to 0.850" and "each case counted as a patient" in page.text


def test_what_was_trained_on_and_what_goes_in(validated, folders):
    text = Page(card(validated)).text
    for expected in (
        "Segments shell, core in MR0; nnUNetTrainer, 2d, 2 folds.",
        "Research use only. This is not a medical device.",
        "Training cases 5 in the data set",
        "Licence of the data CC BY 4.0",
        "Reference not stated in dataset.json",
        "Resampled to 1 x 1 mm (y, x)",
        "Patch 16 x 12 voxels (y, x)",
        "MR0: ZScoreNormalization",
        "(percentiles 0.5 to 99.5): MR0 40 to 150",
        "Epochs 12",
        "Iterations per epoch not recorded",
        "2.4 MB in 2 files",
    ):
        assert expected in text
    assert "MR0: ZScoreNormalization inside" not in text


def test_cases_without_annotation_are_told_apart(tmp_path):
    folder = validated_folder(tmp_path / "model", labels={**CLASSES, "numUnannotated": 3})
    expected = "5 in the data set, 3 of them without annotation; a fold is trained without its validation cases"
    assert f"Training cases {expected}" in Page(card(folder)).text


def test_the_record_of_the_training_without_the_machine(tmp_path):
    folder = validated_folder(tmp_path / "model")
    file = folder / "fold_1" / FINAL
    content = torch.load(file, weights_only=False)
    torch.save({**content, "current_epoch": 20, "logging": {"epoch_end_timestamps": [0.0, 86400.0]}}, file)
    debug = {"num_iterations_per_epoch": "250", "hostname": "ward7", "output_folder": "/ward7"}
    (folder / "fold_1/debug.json").write_text(json.dumps(debug))
    page = card(folder)
    text = Page(page).text
    assert "Epochs 12 (fold 0), 20 (fold 1)" in text and "not recorded (fold 0), 1970-01-02 (fold 1)" in text
    assert "not recorded (fold 0), 250 (fold 1)" in text and b"ward7" not in page


def test_names_from_files_are_text(tmp_path):
    hostile = "<script>alert(1)</script>\x1b[2J\u202e"
    labels = {"background": 0, hostile: 1, '"><img src=x onerror=alert(1)>': 2}
    folder = validated_folder(tmp_path / "model", labels={"labels": labels, "description": hostile, "licence": hostile})
    page = card(folder, dataset=hostile, trainer=hostile)
    read = Page(page)
    assert not read.tags & {"script", "img", "iframe", "link", "a"}
    assert not [name for name in read.attributes if name.startswith("on")]
    assert read.text.count("<script>alert(1)</script>\\x1b[2J\\u202e") >= 5
    assert b"\x1b" not in page and "\u202e" not in page.decode()


@pytest.mark.parametrize(("core", "key"), [(2, "2"), ([2], "(2,)")])
def test_regions(tmp_path, core, key):
    labels = {**REGIONS, "labels": {**REGIONS["labels"], "core": core}}
    folder = write_model_folder(tmp_path / "model", plan((16, 12), architecture=unet(2, 2, 4), labels=labels))
    write_summary(folder, "0", DICE["0"], ("(1, 2)", key))
    page = Page(card(folder))
    assert page.rows[:3] == [["Region", "Labels in it"], ["whole", "1, 2"], ["core", "2"]]
    assert [(row[0], row[1], row[5]) for row in page.rows[-2:]] == [("whole", "0.800", "2"), ("core", "0.500", "1")]
    assert page.rows[-1][2] == "not defined"  # one case has no interval
    assert "their voxels get the values 1, 2, in this order" in page.text


def test_without_a_validation_the_page_says_so(model_file):
    page = Page(open_model(model_file).card)
    assert "No validation was run" in page.text and "mean Dice" not in page.text
    assert "how well this model segments is not known" in page.items[0]


@pytest.mark.parametrize(
    ("provenance", "sentence"),
    [
        ({"checkpoint": "checkpoint_best.pth"}, "The exported weights are checkpoint_best.pth."),
        ({"folds": ["0", "1", "7", "8"]}, "Not validated, and not in the figures: folds 7, 8."),
        ({"folds": ["0", "all"]}, "Fold all was trained on all cases"),
    ],
)
def test_limits_of_the_figures(validated, provenance, sentence):
    assert not any(sentence in item for item in Page(card(validated)).items)
    assert any(sentence in item for item in Page(card(validated, **provenance)).items)


def write_case(folders, folder):
    """smith_1's image and masks: most foreground in the third slice, the only disagreement in the second."""
    reference = np.zeros((4, 20, 20), np.uint8)
    reference[1, 5:7, 5:7], reference[2, 4:12, 4:12] = 1, 2
    prediction = reference.copy()
    prediction[1] = 0
    image = np.random.default_rng(0).normal(100, 10, reference.shape).astype(np.float32)
    raw, preprocessed = folders
    for file, array in {
        raw / "imagesTr/smith_1_0000.nii.gz": image,
        preprocessed / "gt_segmentations/smith_1.nii.gz": reference,
        folder / "fold_0/validation/smith_1.nii.gz": prediction,
    }.items():
        file.parent.mkdir(exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(array), str(file))


def test_a_picture_is_shown_on_request_without_the_cases_name(folders, tmp_path):
    folder = validated_folder(tmp_path / "model")
    write_case(folders, folder)
    assert b"data:image/png" not in card(folder)
    for choice in ("smith_1", "median"):  # the upper one of 0.35, 0.7, 0.7, 0.75
        page = card(folder, choice)
        assert b"data:image/png" in page and b"smith" not in page
        assert "axial slice 3 of 4, MR0" in Page(page).text and "Dice shell 0.700, core not defined." in Page(page).text
        assert page.count(b'<path class="reference" d="M') == 2  # and the legend
    with pytest.raises(UserError, match=r"--picture smith_9: not one of the 4 validation cases"):
        card(folder, "smith_9")


def test_without_images_there_is_a_sentence_instead_of_a_picture(validated, folders, monkeypatch):
    notes = []
    assert b"data:image/png" not in card(validated, "jones_1", notes.append)
    monkeypatch.delenv("nnUNet_raw")
    card(validated, "jones_1", notes.append)
    assert "image and reference and prediction not found" in notes[0] and "jones_1_0000.nii.gz" in notes[0]
    assert len(notes) == 2 and "image" in notes[1]


def test_the_page_in_the_file_is_the_one_beside_it_and_names_no_case(validated, folders, tmp_path, capsysbinary):
    target = tmp_path / "out" / "lesions.pyz"
    assert main(["export", str(validated), "-o", str(target), "-f", "0"]) == 0
    assert sorted(entry.name for entry in target.parent.iterdir()) == ["lesions.html", "lesions.pyz"]
    page = (target.parent / "lesions.html").read_bytes()
    assert open_model(target).card == page and b"lesions.html" in capsysbinary.readouterr().out
    with zipfile.ZipFile(target) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert b"jones" not in content and b"smith" not in content and str(tmp_path).encode() not in content
    assert main(["predict", "-m", str(target), "--card"]) == 0
    assert capsysbinary.readouterr().out == page


# What printing the card does without; the rest is Python's own.
BLOCK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "nnunetv2", "jinja2", "matplotlib", "pandas", "numpy", "SimpleITK"}:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)

sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_file_prints_its_card_without_any_package(model_file):
    command = [sys.executable, "-c", BLOCK, str(model_file), "--card"]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0 and done.stdout == open_model(model_file).card, done.stderr


def test_predictions_still_need_images_and_a_folder(model_file, tmp_path, capsys):
    assert main(["predict", "-m", str(model_file), "-o", str(tmp_path / "out")]) == 2
    assert "-i and -o are missing" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_files_without_a_card_say_so(model_file, tmp_path, capsys):
    def change(name, part):
        if name == "model/manifest.json":
            manifest = json.loads(part)
            del manifest["sha256"]["model/card.html"]
            return json.dumps(manifest)
        return None if name == "model/card.html" else part

    old = rewrite(model_file, tmp_path / "old.pyz", change)
    assert main(["predict", "-m", str(old), "--card"]) == 2
    assert "holds no model card: export the model again" in capsys.readouterr().err


def test_a_changed_card_is_refused(model_file, tmp_path):
    changed = rewrite(model_file, tmp_path / "model.pyz", lambda name, part: b"" if name.endswith(".html") else part)
    with pytest.raises(UserError, match=r"card\.html: SHA-256"):
        open_model(changed)


@pytest.mark.parametrize("name", ["lesions.pyz", "lesions"])
def test_another_file_of_the_cards_name_is_kept(model_folder, tmp_path, capsys, name):
    (tmp_path / "lesions.html").write_text("<html>my report")
    assert main(["export", str(model_folder), "-o", str(tmp_path / name)]) == 2
    assert "lesions.html, where the model card would be written, is another file" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["lesions.html"]
    assert (tmp_path / "lesions.html").read_text() == "<html>my report"


def test_a_folder_of_the_cards_name_is_refused_and_an_earlier_card_replaced(model_folder, model_file, tmp_path, capsys):
    (tmp_path / "kept.html").mkdir()
    assert main(["export", str(model_folder), "-o", str(tmp_path / "kept.pyz")]) == 2
    assert "kept.html can't be written: it is a folder" in capsys.readouterr().err
    earlier = tmp_path / "model.html"
    earlier.write_bytes(open_model(model_file).card.replace(b"Dataset900_Toy", b"Dataset899_Old"))
    assert main(["export", str(model_folder), "-o", str(tmp_path / "model.pyz"), "-f", "0"]) == 0
    assert earlier.read_bytes() == open_model(tmp_path / "model.pyz").card and b"Old" not in earlier.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "it is no valid JSON"),
        ('{"metric_per_case": []}', "foreground_mean: Field required"),
        (
            '{"foreground_mean": {"Dice": 1}, "metric_per_case": '
            '[{"prediction_file": "a.nii.gz", "metrics": {"1": {"Dice": 1}}}]}',
            "has no Dice of core",
        ),
        (
            '{"foreground_mean": {"Dice": 1}, "metric_per_case": '
            '[{"prediction_file": "a.nii.gz", "metrics": {"shell": {"Dice": 1}}}]}',
            "metric_per_case.0.metrics.shell",
        ),
    ],
)
def test_summaries_that_are_none_are_named_and_nothing_is_written(tmp_path, capsys, content, message):
    folder = validated_folder(tmp_path / "model")
    (folder / "fold_1/validation/summary.json").write_text(content)
    assert main(["export", str(folder), "-o", str(tmp_path / "out.pyz"), "-f", "1"]) == 2
    error = capsys.readouterr().err
    assert "fold_1/validation/summary.json" in error and message in error
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
