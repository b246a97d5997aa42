"""SERTrainerPaper: the reference's settings as far as they are known, and ImageNet weights by file."""

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.errors import UserError
from ser_nnunet.training.paper import SERTrainerPaper


def test_settings(make_trainer):
    trainer = make_trainer(SERTrainerPaper, batch_size=2)
    assert (trainer.num_epochs, trainer.schedule.guided_epochs, trainer.batch_size) == (300, 200, 8)
    assert trainer.sam_slices_per_step == 8
    assert trainer.oversample_foreground_percent == 0.85
    group = trainer.optimizer.param_groups[0]
    assert isinstance(trainer.optimizer, torch.optim.SGD)
    assert (group["lr"], group["weight_decay"], group["momentum"]) == (0.01, 1e-4, 0.9)
    assert sum(p.numel() for p in trainer.ser_net.aggregator.parameters()) == 41_282


def test_three_dimensions_are_refused_before_anything_is_written(make_trainer, tmp_path):
    reason = (
        r"reference's settings, which are for 2D.*3d_fullres has 3D patches \(16, 32, 32\).*this one with SERTrainer$"
    )
    with pytest.raises(NotImplementedError, match=f"SERTrainerPaper has the {reason}"):
        make_trainer(SERTrainerPaper, patch=(16, 32, 32), configuration="3d_fullres")
    assert not any(tmp_path.iterdir()), "no result folder for a training that can't be"


def test_augmentation_is_one_flip_and_one_rotation(make_trainer):
    """All that comes out is one of the square's eight symmetries of what went in, labels moved alike."""
    trainer = make_trainer(SERTrainerPaper)
    rotation, dummy, initial, mirror = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert list(initial) == [32, 32] and trainer.inference_allowed_mirroring_axes is None
    transforms = trainer.get_training_transforms(
        initial, rotation, None, mirror, dummy, foreground_labels=[1], regions=None, ignore_label=None
    )
    image = torch.arange(16.0).reshape(1, 4, 4)
    symmetries = [torch.rot90(flip, turns, (1, 2)) for flip in (image, image.flip(2)) for turns in range(4)]
    seen = set()
    for _ in range(80):
        out = transforms(image=image.clone(), segmentation=image.clone().to(torch.int16))
        assert torch.equal(out["image"], out["segmentation"].float())
        seen.add(next(i for i, symmetry in enumerate(symmetries) if torch.equal(symmetry, out["image"])))
    assert len(seen) == 8


class TestImageNetWeights:
    """SER_HARDNET_CHECKPOINT is read when a training begins, and not when one is resumed or validated."""

    @pytest.fixture(autouse=True)
    def without_data_or_sam(self, monkeypatch):
        """Nothing but SER's own part of the start of a training happens."""
        monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: None)
        monkeypatch.setattr(SERTrainerPaper, "guided_fraction", 0.0)

    def test_a_new_training_starts_from_them(self, make_trainer, tmp_path, monkeypatch):
        encoder = make_trainer(SERTrainerPaper).ser_net.prompt_learner.encoder
        weights = {name: torch.full_like(tensor, 0.5) for name, tensor in encoder.state_dict().items()}
        torch.save(weights, tmp_path / "hardnet85.pth")
        monkeypatch.setenv("SER_HARDNET_CHECKPOINT", str(tmp_path / "hardnet85.pth"))
        trainer = make_trainer(SERTrainerPaper, initialize=False)
        trainer.on_train_start()
        assert all((parameter == 0.5).all() for parameter in trainer.ser_net.prompt_learner.encoder.parameters())

    def test_a_file_that_cant_be_read_stops_a_new_training(self, make_trainer, monkeypatch):
        monkeypatch.setenv("SER_HARDNET_CHECKPOINT", "/absent/hardnet85.pth")
        with pytest.raises(UserError, match=r"hardnet85\.pth"):
            make_trainer(SERTrainerPaper, initialize=False).on_train_start()

    def test_a_resumed_training_and_a_validation_dont_read_the_file(self, make_trainer, tmp_path, monkeypatch):
        make_trainer(SERTrainerPaper).save_checkpoint(str(tmp_path / "checkpoint.pth"))
        monkeypatch.setenv("SER_HARDNET_CHECKPOINT", "/absent/hardnet85.pth")
        trainer = make_trainer(SERTrainerPaper, initialize=False)
        lines = []
        trainer.print_to_log_file = lambda *words, **_: lines.append(" ".join(map(str, words)))
        trainer.load_checkpoint(str(tmp_path / "checkpoint.pth"))  # all that --val does
        trainer.on_train_start()  # --c
        assert [line for line in lines if "starts" in line] == ["HarDNet-85 starts with the weights that were loaded"]

    def test_pretrained_weights_are_kept(self, make_trainer, monkeypatch):
        """nnU-Net initialises the trainer, then loads `-pretrained_weights`, then the training begins."""
        monkeypatch.setenv("SER_HARDNET_CHECKPOINT", "/absent/hardnet85.pth")
        trainer = make_trainer(SERTrainerPaper)
        with torch.no_grad():
            for parameter in trainer.network.parameters():
                parameter.fill_(0.25)
        trainer.on_train_start()
        assert all((parameter == 0.25).all() for parameter in trainer.network.parameters())
