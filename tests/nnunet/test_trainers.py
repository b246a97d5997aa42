"""Where nnU-Net looks for trainers, and looking one up as it does."""

import os

import pytest

from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, find_trainer, similar_trainers, trainers_folder, with_trainers

MINE = """
from ser_nnunet.training.variants import SERTrainerNoSAM

class MyTrainer(SERTrainerNoSAM):
    num_epochs = 3
"""


def test_the_folder_holds_the_trainers():
    assert (trainers_folder() / "SERTrainer.py").is_file()


def test_users_folders_are_kept_and_sers_is_added_once(tmp_path):
    mine = str(tmp_path / "my trainers")
    both = with_trainers(mine)
    assert both.split(os.pathsep) == [mine, str(trainers_folder())]
    assert with_trainers(both) == both


@pytest.mark.parametrize("current", [None, "", os.pathsep])
def test_sers_folder_alone_where_no_other_is_set(current):
    assert with_trainers(current) == str(trainers_folder())


def test_sers_trainers_are_found_without_the_variable_which_stays_unset(monkeypatch, capsys):
    monkeypatch.delenv(EXTERNAL_TRAINERS, raising=False)
    assert find_trainer("SERTrainerNoSAM").__name__ == "SERTrainerNoSAM"
    assert EXTERNAL_TRAINERS not in os.environ
    assert capsys.readouterr().out == "", "nnU-Net's own output is hidden"


def test_a_search_as_set_finds_sers_trainers_only_with_the_variable(monkeypatch):
    monkeypatch.delenv(EXTERNAL_TRAINERS, raising=False)
    assert find_trainer("nnUNetTrainer", as_set=True).__name__ == "nnUNetTrainer"
    with pytest.raises(RuntimeError, match="SERTrainer"):
        find_trainer("SERTrainer", as_set=True)
    monkeypatch.setenv(EXTERNAL_TRAINERS, str(trainers_folder()))
    assert find_trainer("SERTrainer", as_set=True).__name__ == "SERTrainer"


def test_a_users_own_trainer_is_found_beside_sers(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.setenv(EXTERNAL_TRAINERS, str(tmp_path))
    assert find_trainer("MyTrainer").num_epochs == 3
    assert find_trainer("SERTrainer").__name__ == "SERTrainer"


def test_a_users_trainer_is_found_behind_an_import_of_everything(tmp_path, monkeypatch):
    (tmp_path / "another.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "all.py").write_text("from another import *\n")
    monkeypatch.setenv(EXTERNAL_TRAINERS, str(tmp_path / "trainers"))
    assert find_trainer("MyTrainer").num_epochs == 3


def test_a_users_trainer_is_found_whose_name_no_file_holds_beside_files_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE + "\nglobals()[f'MyTrainer_{3}epochs'] = MyTrainer\n")
    (tmp_path / ".#mine.py").symlink_to(tmp_path / "nowhere.py")
    monkeypatch.setenv(EXTERNAL_TRAINERS, str(tmp_path))
    assert find_trainer("MyTrainer_3epochs").num_epochs == 3


def test_an_unknown_trainer_is_refused_without_an_import_and_similar_ones_are_named(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')")
    monkeypatch.setenv(EXTERNAL_TRAINERS, str(tmp_path))
    with pytest.raises(RuntimeError, match=r"no trainer SERTrainrNoSAM; similar ones are SERTrainerNoSAM, "):
        find_trainer("SERTrainrNoSAM")
    with pytest.raises(RuntimeError, match=r"no trainer Qqq$"):
        find_trainer("Qqq")


def test_similar_names_are_found_without_regard_to_case():
    assert similar_trainers("sertrainer")[0] == "SERTrainer"
    assert similar_trainers("NNUNETTRAINER")[0] == "nnUNetTrainer"
