"""The timed tasks are real: steps train, predictions predict."""

import numpy as np
import torch

from ser_nnunet.benchmark.timed_tasks import build_predictions, build_sam_encoders, build_training_steps
from ser_nnunet.sam.dummy_sam import build_dummy_sam
from tests.benchmark.tiny_dataset import tiny_configuration

CPU = torch.device("cpu")


def test_timed_steps_train_and_timed_predictions_predict(tmp_path):
    planned = tiny_configuration()
    steps = build_training_steps(planned, 2, CPU, tmp_path, None, None)
    assert list(steps) == ["nnU-Net", "SERNet light", "SERNet paper"]
    for name in ("nnU-Net", "SERNet light"):
        first, *_, last = [float(steps[name]()["loss"]) for _ in range(12)]
        assert last < first  # the same batch again and again: the loss must fall
    logits = build_predictions(planned, (2, 32, 40), CPU, mirroring=True)["SERNet light"]()
    assert logits.shape == (2, 2, 32, 40)


def test_regions_get_one_target_map_each(tmp_path):
    regions = {"background": 0, "whole": [1, 2], "core": 2}
    planned = tiny_configuration(labels=regions, regions_class_order=[1, 2])
    for step in list(build_training_steps(planned, 2, CPU, tmp_path, None, None).values())[:2]:
        assert np.isfinite(step()["loss"])


def test_a_sam_checkpoint_adds_a_guided_step(tmp_path):
    torch.save(build_dummy_sam(image_size=64).state_dict(), tmp_path / "sam.pth")
    steps = build_training_steps(tiny_configuration(), 2, CPU, tmp_path / "work", tmp_path / "sam.pth", 32)
    assert np.isfinite(steps["SERNet light, SAM-guided"]()["loss_seg"])
    assert np.isnan(steps["SERNet light"]()["loss_seg"])


def test_sams_encoder_runs_at_every_size():
    tasks = build_sam_encoders("ViT-B", [32, 64], CPU)
    shapes = {name: tuple(task().shape) for name, task in tasks.items()}
    assert shapes == {"SAM ViT-B encoder, 32 pixels": (1, 256, 2, 2), "SAM ViT-B encoder, 64 pixels": (1, 256, 4, 4)}
