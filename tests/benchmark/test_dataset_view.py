"""The view of a planned data set: what was asked for is in it, and the user's folder isn't touched."""

import json

import pytest
from nnunetv2.utilities.crossval_split import generate_crossval_split

from ser_nnunet.benchmark.dataset_view import PlannedDataset, choose_cases
from tests.benchmark.tiny_dataset import CASES, NAME, read_files


def test_view_has_the_batch_size_and_cases_asked_for_and_leaves_the_users_folder_alone(preprocessed, tmp_path):
    before = read_files(preprocessed)
    dataset = PlannedDataset(preprocessed / NAME, "nnUNetPlans", "2d", (0,), batch_size=7, train_cases=2)
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
    dataset = PlannedDataset(preprocessed / NAME, "nnUNetPlans", "2d", (0,))

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
    splits = PlannedDataset(copy, "nnUNetPlans", "2d", (1,)).splits
    assert splits == [{key: list(map(str, part[key])) for key in part} for part in generate_crossval_split(CASES)]


def make_copy(preprocessed, root, splits):
    """Return a copy of the data set, made of links, with another splits_final.json."""
    copy = root / NAME
    copy.mkdir(parents=True)
    for file in (preprocessed / NAME).iterdir():
        if file.name != "splits_final.json":
            (copy / file.name).symlink_to(file)
    (copy / "splits_final.json").write_text(json.dumps(splits))
    return copy


def test_problems_of_all_folds_are_named_at_once(preprocessed, tmp_path):
    a, b, c, d, e = CASES
    splits = [
        {"train": [a, b, c], "val": [d, e]},
        {"train": [d, e], "val": [a, b]},
        {"train": [a], "val": [b, d, "gone"]},
    ]
    copy = make_copy(preprocessed, tmp_path, splits)

    def problems(*folds, **given):
        return PlannedDataset(copy, "nnUNetPlans", "2d", folds, **given).find_problems()

    assert problems(0, 1) == [] and problems(0, 1, train_cases=2) == []
    assert problems(0, 5, -1) == ["fold 5, -1 doesn't exist: there are folds 0 to 2"]
    assert problems(0, 1, 2, train_cases=3) == [
        f"{copy / 'nnUNetPlans_2d'} (preprocess again) lacks cases of the split: gone (1)",
        "--train-cases 3: fold 1 has 2 training cases",
        "--train-cases 3: fold 2 has 1 training cases",
        f"folds 0 and 2 cannot be pooled: both have the validation cases {d} (1)",
        f"folds 1 and 2 cannot be pooled: both have the validation cases {b} (1)",
    ]
    assert PlannedDataset(copy, "nnUNetPlans", "2d", (1, 0)).validation_cases == {a: 1, b: 1, d: 0, e: 0}


def test_the_view_of_one_fold_serves_those_that_are_added_later(preprocessed, tmp_path):
    splits = [{"train": CASES[:3], "val": CASES[3:]}, {"train": CASES[2:], "val": CASES[:2]}]
    copy = make_copy(preprocessed, tmp_path / "preprocessed", splits)
    one, both = (PlannedDataset(copy, "nnUNetPlans", "2d", folds, train_cases=2) for folds in ((0,), (0, 1)))
    view = one.make_view(tmp_path / "views", seed=0)
    assert both.make_view(tmp_path / "views", seed=0) == view
    found = json.loads((view / NAME / "splits_final.json").read_text())
    assert [len(split["train"]) for split in found] == [2, 2]
    assert [split["val"] for split in found] == [split["val"] for split in splits]
    assert one.plan_and_split_hash == both.plan_and_split_hash


def test_hash_changes_with_the_plan_and_the_split(preprocessed, tmp_path):
    copy = tmp_path / NAME
    copy.mkdir()
    for file in (preprocessed / NAME).glob("*.json"):
        (copy / file.name).write_text(file.read_text())
    original = PlannedDataset(preprocessed / NAME, "nnUNetPlans", "2d", (0,)).plan_and_split_hash
    dataset = PlannedDataset(copy, "nnUNetPlans", "2d", (0,))
    assert dataset.plan_and_split_hash == original
    (copy / "splits_final.json").write_text(json.dumps([{"train": CASES[:3], "val": CASES[3:]}]))
    other_split = dataset.plan_and_split_hash
    (copy / "nnUNetPlans.json").write_text(
        (copy / "nnUNetPlans.json").read_text().replace('"batch_size": 2', '"batch_size": 3')
    )
    assert len({original, other_split, dataset.plan_and_split_hash}) == 3
