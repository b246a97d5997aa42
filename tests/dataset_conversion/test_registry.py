"""Every registered data set explains a wrong folder; a new one needs a `find` function and an entry in the registry."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import SimpleITK as sitk

from ser_nnunet.cli import main
from ser_nnunet.dataset_conversion import BidsLayout, Description, FolderLayout, convert
from ser_nnunet.dataset_conversion.core.data_classes import LABEL, CaseTable, DatasetInfo, Options
from ser_nnunet.dataset_conversion.core.pairing import FileIdentity, choose_channels, find_cases
from ser_nnunet.dataset_conversion.core.source_tree import SourceTree, image_stem
from ser_nnunet.dataset_conversion.registry import CONVERTERS, Converter
from ser_nnunet.errors import UserError
from tests.dataset_conversion.volumes import image_of, mask, save, scalar_image

CHANNELS = {"pansegdata": ["T1"]}
LAYOUTS = {
    "folders": FolderLayout({"T1": "{patient}_T1.nii.gz"}, "{patient}_mask.nii.gz", Description({"lesion": 1})),
    "bids": BidsLayout(("T1w",), "dseg", Description({"lesion": 1})),
}


@pytest.mark.parametrize("dataset", CONVERTERS)
def test_the_error_for_a_wrong_folder_names_the_files_expected(dataset: str, tmp_path: Path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"(?s)no case found below .*holiday\.jpg.*SOURCE must be a folder that holds"):
        convert(
            tmp_path,
            705,
            dataset=dataset,
            raw=tmp_path / "raw",
            channels=CHANNELS.get(dataset),
            layout=LAYOUTS.get(dataset),
        )
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("dataset", CONVERTERS)
def test_the_error_for_an_empty_folder_says_that_it_is_empty(dataset: str, tmp_path: Path):
    with pytest.raises(UserError, match="it holds no files"):
        convert(
            tmp_path,
            705,
            dataset=dataset,
            raw=tmp_path / "raw",
            channels=CHANNELS.get(dataset),
            layout=LAYOUTS.get(dataset),
        )


def test_an_unknown_data_set_is_refused_with_the_known_ones(tmp_path: Path):
    with pytest.raises(UserError, match=r"no converter for 'mslessegg': choose among mslesseg, pancreas-ct, "):
        convert(tmp_path, 705, dataset="mslessegg", raw=tmp_path / "raw")


INFO = DatasetInfo(
    name="Kidneys",
    title="A data set as a contributor would add it",
    licence="CC BY 4.0",
    citation="Author et al.",
    reference="https://example.org",
    channels={"T2": "T2"},
    labels={"background": 0, "kidney": 1},
    values={0: 0, 1: 1},
)


def identify(tree: SourceTree, path: Path) -> FileIdentity | None:
    match = re.fullmatch(r"(patient\d+)_(T2|kidney)", image_stem(path))
    return FileIdentity(match[1], LABEL if match[2] == "kidney" else "T2") if match else None


def find(tree: SourceTree, options: Options) -> CaseTable:
    return find_cases(tree, choose_channels(INFO, options), identify, "patient1_T2.nii.gz and patient1_kidney.nii.gz")


@pytest.fixture
def kidneys(tmp_path: Path, monkeypatch) -> Path:
    """Register a new data set of three patients; return its folder."""
    monkeypatch.setitem(CONVERTERS, "kidneys", Converter(find, "kidneys in MRI"))
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    for number in range(3):
        save(image_of(scalar_image(number)), tmp_path / "kidneys" / f"patient{number}_T2.nii.gz")
        save(image_of(mask(number)), tmp_path / "kidneys" / f"patient{number}_kidney.nii.gz")
    return tmp_path / "kidneys"


def test_a_new_data_set_is_checked_and_written_with_one_entry_in_the_registry(kidneys: Path, tmp_path: Path, capsys):
    assert main(["convert", "kidneys", str(kidneys), "-d", "9", "-np", "1"]) == 0
    assert "Dataset009_Kidneys: 3 training cases of 3 patients" in capsys.readouterr().out
    folder = tmp_path / "raw" / "Dataset009_Kidneys"
    assert json.loads((folder / "dataset.json").read_text())["labels"] == {"background": 0, "kidney": 1}
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr" / "patient2.nii.gz")))
    assert (written == mask(2)).all()


def test_the_shared_checks_apply_to_a_new_data_set(kidneys: Path, capsys):
    save(image_of(mask(1) * 0), kidneys / "patient1_kidney.nii.gz")
    (kidneys / "patient2_T2.nii.gz").unlink()
    assert main(["convert", "kidneys", str(kidneys), "-d", "9", "-np", "1"]) == 2
    printed = capsys.readouterr().err
    assert "patient1_kidney.nii.gz has no foreground voxel" in printed and "label without image (1)" in printed


def test_the_summary_of_one_case_is_in_the_singular(kidneys: Path, capsys):
    command = ["convert", "kidneys", str(kidneys), "-d", "9", "-np", "1", "--dry-run", "--exclude"]
    assert main([*command, "patient1", "patient2"]) == 0
    printed = capsys.readouterr().out
    assert "Dataset009_Kidneys: 1 training case of 1 patient, no test cases" in printed and "no folds" in printed
    assert main([*command, "patient2"]) == 0
    assert "2 patients make 2 folds instead of 5: train 0, 1" in capsys.readouterr().out
