"""The data set's folder appears complete or not at all, and nothing of the user's is lost."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from ser_nnunet.dataset_conversion import ConversionError, convert
from ser_nnunet.dataset_conversion.core.output_folder import check_id, lock_id
from ser_nnunet.errors import UserError
from tests.dataset_conversion.builders import LABEL, SampleDataset, msd_prostate, mslesseg, promise12
from tests.dataset_conversion.helpers import convert_sample, hash_tree


@pytest.fixture
def sample(tmp_path: Path) -> SampleDataset:
    return promise12(tmp_path / "source")


@pytest.fixture
def raw(tmp_path: Path, monkeypatch) -> Path:
    for name in ("preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    return tmp_path / "raw"


def test_an_existing_data_set_is_refused(sample: SampleDataset, raw: Path):
    folder = convert_sample(sample, raw).folder
    before = hash_tree(folder)
    with pytest.raises(UserError, match=r"Dataset701_PROMISE12 exists: .* --overwrite"):
        convert_sample(sample, raw)
    assert hash_tree(folder) == before


@pytest.mark.parametrize("place", ["raw", "preprocessed", "results"])
def test_an_id_under_another_name_is_refused_even_with_overwrite(sample: SampleDataset, raw: Path, place: str):
    taken = raw.parent / place / "Dataset701_Mine"
    taken.mkdir(parents=True)
    with pytest.raises(UserError, match=f"nnUNet_{place}/Dataset701_Mine"):
        convert_sample(sample, raw, overwrite=True)
    assert taken.is_dir()


@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"name": "Other"}])
def test_a_second_conversion_to_the_same_id_is_refused_while_the_first_one_runs(
    sample: SampleDataset, raw: Path, options
):
    with lock_id(raw, 701):
        with pytest.raises(UserError, match=r"a conversion to Dataset701 in .* is running already \(process \d+ of .*"):
            convert_sample(sample, raw, **options)
        convert_sample(sample, raw, dataset_id=702)
        convert_sample(sample, raw, dry_run=True)
    assert [path.name for path in raw.iterdir()] == ["Dataset702_PROMISE12"]


def test_a_raw_folder_that_can_be_none_is_refused_before_the_checks(sample: SampleDataset, tmp_path: Path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UserError, match="can't be the output folder"):
        convert_sample(sample, tmp_path / "file" / "raw")
    assert (tmp_path / "file").read_text() == "precious"


def test_overwrite_replaces_the_whole_folder(sample: SampleDataset, raw: Path):
    (raw / "Dataset701_PROMISE12").mkdir(parents=True)
    (raw / "Dataset701_PROMISE12" / "old.txt").write_text("old")
    folder = convert_sample(sample, raw, overwrite=True).folder
    assert [path.name for path in raw.iterdir()] == [folder.name] and not (folder / "old.txt").exists()


@pytest.mark.parametrize("is_there", [True, False])
def test_overwrite_replaces_a_link_and_keeps_the_folder_that_it_leads_to(
    sample: SampleDataset, raw: Path, tmp_path: Path, is_there: bool
):
    """Data sets are linked from other disks; a link whose folder has gone is in the way as well."""
    raw.mkdir(parents=True)
    elsewhere = tmp_path / "another disk"
    if is_there:
        elsewhere.mkdir()
        (elsewhere / "old.txt").write_text("old")
    (raw / "Dataset701_PROMISE12").symlink_to(elsewhere)
    with pytest.raises(UserError, match=r"Dataset701_PROMISE12 exists: .* --overwrite"):
        convert_sample(sample, raw)
    folder = convert_sample(sample, raw, overwrite=True).folder
    assert [path.name for path in raw.iterdir()] == [folder.name]
    assert not folder.is_symlink() and (folder / "dataset.json").is_file()
    assert elsewhere.exists() == is_there and (not is_there or (elsewhere / "old.txt").read_text() == "old")


def test_a_link_that_a_killed_conversion_has_moved_aside_is_removed(sample: SampleDataset, raw: Path, tmp_path: Path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    convert_sample(sample, raw)
    left = raw / f".Dataset701_PROMISE12.converting-{socket.gethostname()}-{dead.pid}-old"
    left.symlink_to(tmp_path)
    folder = convert_sample(sample, raw, overwrite=True).folder
    assert [path.name for path in raw.iterdir()] == [folder.name] and tmp_path.is_dir()


def test_overwrite_keeps_the_old_one_if_the_new_one_fails(sample: SampleDataset, raw: Path):
    before = hash_tree(convert_sample(sample, raw).folder)
    sample.change("Train_Case00", LABEL, lambda array: array * 0)
    with pytest.raises(ConversionError):
        convert_sample(sample, raw, overwrite=True)
    assert hash_tree(raw / "Dataset701_PROMISE12") == before and len(list(raw.iterdir())) == 1


def test_leftovers_of_a_killed_conversion_are_removed(sample: SampleDataset, raw: Path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    leftovers = raw / f".Dataset701_PROMISE12.converting-{socket.gethostname()}-{dead.pid}"
    leftovers.mkdir(parents=True)
    folder = convert_sample(sample, raw).folder
    assert [path.name for path in raw.iterdir()] == [folder.name]


@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupt_between_the_renames_loses_no_data_set(sample: SampleDataset, raw: Path, monkeypatch, after: int):
    """After the first rename the old data set is moved aside, after the second the new one is in its place."""
    old = raw / "Dataset701_PROMISE12" / "old.txt"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    rename, calls = Path.rename, []

    def interrupted(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        calls.append(target)
        if len(calls) == after:
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_sample(sample, raw, overwrite=True)
    assert [path.name for path in raw.iterdir()] == ["Dataset701_PROMISE12"]
    assert old.exists() == (after == 1) and (old.parent / "dataset.json").exists() == (after == 2)


def test_a_data_set_moved_aside_by_a_killed_conversion_is_kept_while_it_is_the_only_one(
    sample: SampleDataset, raw: Path
):
    dead = subprocess.Popen(["true"])
    dead.wait()
    aside = raw / f".Dataset701_PROMISE12.converting-{socket.gethostname()}-{dead.pid}-old"
    aside.mkdir(parents=True)
    convert_sample(sample, raw)
    assert aside.exists(), "it was the only one when the run began"
    folder = convert_sample(sample, raw, overwrite=True).folder
    assert [path.name for path in raw.iterdir()] == [folder.name]


@pytest.mark.parametrize("name", ["two words", "a__b", "_x", "../up", ""])
def test_names_that_nnunet_cannot_parse_are_refused(sample: SampleDataset, raw: Path, name: str):
    with pytest.raises(UserError, match="choose another --name"):
        convert_sample(sample, raw, name=name)


@pytest.mark.parametrize("dataset_id", [0, 1000, -1])
def test_ids_outside_nnunets_range_are_refused(sample: SampleDataset, raw: Path, dataset_id: int):
    with pytest.raises(UserError, match="1 to 999"):
        convert_sample(sample, raw, dataset_id)


def test_an_earlier_preprocessed_folder_is_noted(sample: SampleDataset, raw: Path):
    (raw.parent / "preprocessed" / "Dataset701_PROMISE12").mkdir(parents=True)
    assert "delete it before planning" in str(convert_sample(sample, raw).notes)


def test_what_lies_in_nnunet_raw_is_not_found_again(tmp_path: Path):
    sample = mslesseg(tmp_path)
    for _ in range(2):
        report = convert(
            tmp_path, 705, dataset="mslesseg", raw=tmp_path / "raw", overwrite=True, allow_partial=True, processes=1
        )
    assert len(report.cases) == len(sample.cases)


def test_nnunet_raw_itself_is_no_source(tmp_path: Path):
    with pytest.raises(UserError, match="is nnUNet_raw itself"):
        convert(tmp_path, 705, dataset="mslesseg", raw=tmp_path)


def test_a_data_set_cannot_be_converted_into_its_own_place(tmp_path: Path):
    sample = msd_prostate(tmp_path / "source")
    place = tmp_path / "raw" / "Dataset005_Prostate"
    place.parent.mkdir()
    sample.source.rename(place)
    with pytest.raises(UserError, match="is where the data set would be written"):
        convert(place, 5, dataset="msd", name="Prostate", raw=tmp_path / "raw", overwrite=True)
    assert (place / "dataset.json").exists()


@pytest.mark.parametrize(("more", "advice"), [([], "planning uses it"), (["nnUNetPlans.json"], "delete it before")])
def test_a_fingerprint_that_an_earlier_data_set_left_alone_is_told_from_its_plans(
    more: list[str], advice: str, tmp_path: Path, monkeypatch
):
    """Planning takes an existing fingerprint, which keeps scans without labels out of the normalisation of CT."""
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    left = tmp_path / "preprocessed/Dataset705_Prostate"
    left.mkdir(parents=True)
    for name in ("dataset_fingerprint.json", *more):
        (left / name).write_text("{}")
    (note,) = check_id(tmp_path / "raw", "Dataset705_Prostate", overwrite=False, sources=[tmp_path / "source"])
    assert advice in note.text and not note.fatal
