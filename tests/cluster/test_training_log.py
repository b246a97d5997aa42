"""Progress is read from nnU-Net's text logs, over interruptions, whatever numpy prints."""

import json

from ser_nnunet.cluster.training_log import read_progress
from tests.slurm_suite.scenario import lost_epochs

STAMP = "2026-11-29 16:04:41.549505: "


def epoch(number, dice="np.float32(0.5), np.float32(0.7)", seconds=10.0, whole=True):
    lines = [f"Epoch {number} ", "Current learning rate: 0.01 ", f"train_loss -0.{number} ", "val_loss 0.25 "]
    if whole:
        lines += [f"Pseudo dice [{dice}] ", f"Epoch time: {seconds} s "]
    return "".join(f"{STAMP}{line}\n" for line in lines)


def write_log(folder, second, *epochs):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"training_log_2026_11_9_16_01_{second:02d}.txt").write_text("".join(epochs))


def test_the_last_finished_epoch_with_the_mean_dice_of_the_classes(tmp_path):
    write_log(tmp_path, 1, epoch(0), epoch(1, "0.25, nan, np.float64(0.75)"), epoch(2, whole=False))
    progress = read_progress(tmp_path)
    assert (progress.finished, progress.dice) == (2, 0.5)
    assert (progress.epochs[1].train_loss, progress.epochs[1].val_loss) == (-0.1, 0.25)


def test_epochs_after_the_last_checkpoint_are_those_of_the_resumed_training(tmp_path):
    write_log(tmp_path, 9, epoch(0), epoch(1), epoch(2, "0.1"))
    write_log(tmp_path, 10, epoch(2, "0.9"), epoch(3, "0.8", whole=False))
    progress = read_progress(tmp_path)
    assert progress.starts == (0, 2)
    assert (progress.finished, progress.dice) == (3, 0.9)
    assert lost_epochs(tmp_path) == [1]


def test_time_left_follows_the_recent_epochs_and_the_schedule(tmp_path):
    write_log(tmp_path, 1, *[epoch(number, seconds=number) for number in range(3)])
    assert read_progress(tmp_path).seconds_left is None  # the length of the schedule isn't known yet
    (tmp_path / "debug.json").write_text(json.dumps({"num_epochs": "10"}))
    assert read_progress(tmp_path).seconds_left == 7 * 1.0


def test_logs_without_an_epoch_and_absent_folders_are_no_progress(tmp_path):
    write_log(tmp_path, 1, f"{STAMP}Using splits\n")
    for folder in (tmp_path, tmp_path / "absent"):
        progress = read_progress(folder)
        assert (progress.finished, progress.dice, progress.starts) == (0, None, ())
