"""The view of a planned data set: what was asked for is in it, and the user's folder isn't touched."""

import json

import pytest
from nnunetv2.utilities.crossval_split import generate_crossval_split

from ser_nnunet.benchmark.dataset_view import PlannedDataset, choose_cases
from tests.benchmark.tiny_dataset import CASES, NAME, read_files


def test_view_has_the_batch_size_and_cases_asked_for_and_leaves_the_users_folder_alone(preprocessed, tmp_path):
    before = read_files(preprocessed)
    dataset = PlannedDataset(preprocessed / NAME, "nnUNetPlans", "2d", 0, batch_size=7, train_cases=2)
    view = dataset.make_view(tmp_path, seed=3) / NAME
    plans = json.loads((view / "nnUNetPlans_b7.json").read_text())
    assert plans["plans_name"] == "nnUNetPlans_b7"
    assert plans["configurations"]["2d"]["batch_size"] == 7
    split = json.loads((view / "splits_final.json").read_text())[0]
    assert split["val"] == CASES[4:] and len(split["train"]) == 2 and set(split["train"]) < set(CASES[:4])
    linked, theirs = (
        {file.name for file in (root / "nnUNetPlans_2d").iterdir()} for root in (view, preprocessed / NAME)
    )
    assert linked == theirs
    (view / "nnUNetPlans_2d" / "unpacked.npy").touch()  # what nnU-Net might write beside the cases
    assert read_files(preprocessed) == before


def test_view_is_made_once_and_not_left_half_made(preprocessed, tmp_path, monkeypatch):
    dataset = PlannedDataset(preprocessed / NAME, "nnUNetPlans", "2d", 0)

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shutil.copyfile", fail)
        dataset.make_view(tmp_path, seed=0)
    assert list(tmp_path.iterdir()) == []
    view = dataset.make_view(tmp_path, seed=0)
    (view / "mark").touch()
    assert dataset.make_view(tmp_path, seed=1) == view and (view / "mark").is_file()  # all cases: one for all seeds


def test_fewer_cases_are_part_of_more_and_every_seed_draws_its_own():
    cases = [f"case_{number:02d}" for number in range(40)]
    five, ten = choose_cases(cases, 5, seed=1), choose_cases(cases[::-1], 10, seed=1)
    assert set(five) < set(ten) and len(ten) == 10
    assert choose_cases(cases, 5, seed=2) != five
    assert choose_cases(cases, None, seed=1) == cases


def test_without_a_split_file_the_folds_are_nnunets(preprocessed, tmp_path):
    copy = tmp_path / NAME
    copy.mkdir()
    for file in (preprocessed / NAME).iterdir():
        if file.name != "splits_final.json":
            (copy / file.name).symlink_to(file)
    splits = PlannedDataset(copy, "nnUNetPlans", "2d", 1).splits
    assert splits == [{key: list(map(str, part[key])) for key in part} for part in generate_crossval_split(CASES)]


def test_hash_changes_with_the_plan_and_the_split(preprocessed, tmp_path):
    copy = tmp_path / NAME
    copy.mkdir()
    for file in (preprocessed / NAME).glob("*.json"):
        (copy / file.name).write_text(file.read_text())
    original = PlannedDataset(preprocessed / NAME, "nnUNetPlans", "2d", 0).plan_and_split_hash
    dataset = PlannedDataset(copy, "nnUNetPlans", "2d", 0)
    assert dataset.plan_and_split_hash == original
    (copy / "splits_final.json").write_text(json.dumps([{"train": CASES[:3], "val": CASES[3:]}]))
    other_split = dataset.plan_and_split_hash
    (copy / "nnUNetPlans.json").write_text(
        (copy / "nnUNetPlans.json").read_text().replace('"batch_size": 2', '"batch_size": 3')
    )
    assert len({original, other_split, dataset.plan_and_split_hash}) == 3
