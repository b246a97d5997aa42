"""Which checkpoint an interrupted training resumes from."""

import torch

from ser_nnunet.benchmark.training_process import find_last_checkpoint


def test_incomplete_checkpoints_are_ignored(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "checkpoint_best.pth")
    whole = (tmp_path / "checkpoint_best.pth").read_bytes()
    (tmp_path / "checkpoint_latest.pth").write_bytes(whole[: len(whole) // 2])
    assert find_last_checkpoint(tmp_path).name == "checkpoint_best.pth"
    torch.save({"epoch": 9}, tmp_path / "checkpoint_final.pth")
    assert find_last_checkpoint(tmp_path).name == "checkpoint_final.pth"
    assert find_last_checkpoint(tmp_path / "nothing") is None
