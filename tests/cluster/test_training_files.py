"""A training is done when its checkpoint is whole and its validation evaluated; damaged checkpoints are set aside."""

import pytest

from ser_nnunet.cluster.training_files import TrainingFiles
from tests.cluster.trainings import finish_training, write_checkpoint


@pytest.fixture
def folder(tmp_path):
    finish_training(tmp_path / "model" / "fold_0")
    return tmp_path / "model" / "fold_0"


def test_done_is_checkpoint_and_validation(folder):
    training = TrainingFiles(folder)
    assert training.is_done() and training.validation_dice() == 0.8


@pytest.mark.parametrize("name", ["checkpoint_final.pth", "validation/summary.json"])
@pytest.mark.parametrize("damage", ["absent", "cut off"])
def test_a_missing_or_half_written_file_means_that_it_is_not_done(folder, name, damage):
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage == "cut off":
        (folder / name).write_bytes(content[: len(content) // 2])
    assert not TrainingFiles(folder).is_done()
    assert TrainingFiles(folder).digest() is None


def test_a_cascade_s_first_stage_is_done_when_the_second_has_all_cases(folder):
    training = TrainingFiles(folder, ("3d_cascade_fullres",))
    assert not training.is_done() and training.missing_for_next_stages() == ["a0"]
    stage = folder.parent / "predicted_next_stage" / "3d_cascade_fullres"
    stage.mkdir(parents=True)
    (stage / "a00.b2nd").touch()  # of another case
    assert not training.is_done()
    (stage / "a0.b2nd").touch()
    assert training.is_done()


def test_a_checkpoint_that_is_cut_off_is_set_aside_and_a_whole_one_stays(folder):
    write_checkpoint(folder / "checkpoint_best.pth")
    latest = folder / "checkpoint_latest.pth"
    latest.write_bytes((folder / "checkpoint_best.pth").read_bytes()[:-10])
    assert TrainingFiles(folder).set_damaged_aside() == [folder / "checkpoint_latest.pth.damaged"]
    assert {file.name for file in folder.glob("*.pth")} == {"checkpoint_final.pth", "checkpoint_best.pth"}


def test_a_repeated_training_has_another_digest(folder):
    before = TrainingFiles(folder).digest()
    summary = folder / "validation" / "summary.json"
    summary.write_text(summary.read_text().replace("0.8", "0.9"))
    assert TrainingFiles(folder).digest() not in (before, None)
