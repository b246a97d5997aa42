"""nnU-Net's folders, and finding a data set in them."""

import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import PREPROCESSED, RAW, nnunet_folder, preprocessed_dataset


@pytest.fixture
def preprocessed(tmp_path, monkeypatch):
    monkeypatch.setenv(PREPROCESSED, str(tmp_path))
    for name in ("Dataset004_Hippocampus", "Dataset040_Other", "Dataset005_Prostate"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize("value", [None, ""])
def test_a_folder_that_isnt_set_is_none(monkeypatch, value):
    if value is None:
        monkeypatch.delenv(RAW, raising=False)
    else:
        monkeypatch.setenv(RAW, value)
    assert nnunet_folder(RAW) is None


def test_a_folder_is_read_from_its_variable(monkeypatch, tmp_path):
    monkeypatch.setenv(RAW, str(tmp_path))
    assert nnunet_folder(RAW) == tmp_path


@pytest.mark.parametrize("dataset", ["4", "004", "Dataset004_Hippocampus", "Dataset004"])
def test_a_data_set_is_found_by_number_or_name(preprocessed, dataset):
    assert preprocessed_dataset(dataset) == preprocessed / "Dataset004_Hippocampus"


@pytest.mark.parametrize("dataset", ["6", "Dataset00", "Hippocampus"])
def test_no_match_and_several_are_refused_with_the_command_that_plans(preprocessed, dataset):
    with pytest.raises(UserError, match=f"one folder .* expected in .*nnUNetv2_plan_and_preprocess -d {dataset}"):
        preprocessed_dataset(dataset)


def test_several_matches_are_listed(preprocessed):
    with pytest.raises(UserError, match="Dataset004_Hippocampus, Dataset005_Prostate found"):
        preprocessed_dataset("Dataset00")


def test_without_the_variable_the_message_says_what_to_do(monkeypatch):
    monkeypatch.delenv(PREPROCESSED, raising=False)
    with pytest.raises(UserError, match="nnUNet_preprocessed isn't set"):
        preprocessed_dataset("4")
