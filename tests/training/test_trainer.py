"""SERTrainer: whose gradient flows when, what is saved, and what is refused."""

import gc
import math
import weakref

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss

from ser_nnunet.network.ser_net import SERNet
from ser_nnunet.sam.checkpoint import CheckpointError
from ser_nnunet.training.paper import SERTrainerPaper
from ser_nnunet.training.trainer import LOGGED, SERTrainer
from ser_nnunet.training.variants import TRAINERS, SERTrainerJoint, SERTrainerNoSAM, SERTrainerSAMDistill
from tests.training.conftest import DATASETS, make_plans

GUIDED, ALONE = 0, 999


def start_epoch(trainer, epoch):
    trainer.current_epoch = epoch
    for key in ("lrs", *LOGGED, "train_losses"):  # nnU-Net's log wants one value for every epoch before
        trainer.logger.local_logger.my_fantastic_logging[key] = [0.0] * epoch
    trainer.on_train_epoch_start()


def step_and_collect(trainer, batch, silenced=None):
    """Run one train step with one loss silenced; return the prompt learner's and the aggregator's gradients."""
    if silenced is not None:
        silence = getattr(trainer, silenced)
        setattr(trainer, silenced, lambda *arguments: silence(*arguments) * 0)
    output = trainer.train_step(batch)
    parts = {name: getattr(trainer.ser_net, name) for name in ("prompt_learner", "aggregator")}
    return {name: [parameter.grad for parameter in part.parameters()] for name, part in parts.items()}, output


def is_zero(gradients):
    return all(gradient is None or not gradient.any() for gradient in gradients)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("epoch", [GUIDED, ALONE])
def test_every_parameter_gets_a_gradient_in_every_step(make_trainer, make_batch, sam_file, monkeypatch, dataset, epoch):
    monkeypatch.setenv("SER_SAM_CHECKPOINT", str(sam_file))
    trainer = make_trainer(dataset=dataset)
    start_epoch(trainer, epoch)
    gradients, output = step_and_collect(trainer, make_batch(dataset))
    assert all(gradient is not None for part in gradients.values() for gradient in part)
    assert not any(is_zero(part) for part in gradients.values())
    assert math.isfinite(output["loss"]) and math.isfinite(output["loss_dist"])
    assert math.isfinite(output["loss_seg"]) == (epoch == GUIDED)


class TestPhases:
    """The paper: L_seg alone drives the prompt learner in the guided phase, L_dist alone afterwards."""

    @pytest.fixture(autouse=True)
    def checkpoint(self, sam_file, monkeypatch):
        monkeypatch.setenv("SER_SAM_CHECKPOINT", str(sam_file))

    def gradients(self, make_trainer, make_batch, epoch, silenced, trainer_class=SERTrainer):
        trainer = make_trainer(trainer_class)
        start_epoch(trainer, epoch)
        return step_and_collect(trainer, make_batch(), silenced)[0]

    def test_guided_without_l_seg_the_prompt_learner_stands_still(self, make_trainer, make_batch):
        gradients = self.gradients(make_trainer, make_batch, GUIDED, "seg_loss")
        assert is_zero(gradients["prompt_learner"]) and not is_zero(gradients["aggregator"])

    def test_guided_without_l_dist_the_aggregator_stands_still(self, make_trainer, make_batch):
        gradients = self.gradients(make_trainer, make_batch, GUIDED, "loss")
        assert not is_zero(gradients["prompt_learner"]) and is_zero(gradients["aggregator"])

    def test_afterwards_all_gradients_come_from_l_dist(self, make_trainer, make_batch):
        gradients = self.gradients(make_trainer, make_batch, ALONE, "loss")
        assert is_zero(gradients["prompt_learner"]) and is_zero(gradients["aggregator"])

    @pytest.mark.parametrize("silenced", ["seg_loss", "loss"])
    def test_joint_drives_the_prompt_learner_by_both(self, make_trainer, make_batch, silenced):
        gradients = self.gradients(make_trainer, make_batch, GUIDED, silenced, SERTrainerJoint)
        assert not is_zero(gradients["prompt_learner"])

    def test_imitation_adds_to_the_loss_and_reaches_the_whole_network(self, make_trainer, make_batch):
        torch.manual_seed(0)
        plain, imitating, batch = make_trainer(SERTrainerJoint), make_trainer(SERTrainerSAMDistill), make_batch()
        imitating.ser_net.load_state_dict(plain.ser_net.state_dict())
        losses, gradients = [], []
        for trainer in (plain, imitating):
            start_epoch(trainer, GUIDED)
            trainer.sam_slices_per_step = 4
            gradients_of, output = step_and_collect(trainer, batch)
            losses.append(float(output["loss"]))
            gradients.append(gradients_of)
        assert losses[1] > losses[0] + 0.1, "cross-entropy towards SAM's masks is positive"
        for part in ("prompt_learner", "aggregator"):
            assert any(not torch.equal(a, b) for a, b in zip(gradients[0][part], gradients[1][part], strict=True))

    def test_nobody_imitates_a_teacher_who_is_wrong(self, make_trainer, make_batch, monkeypatch):
        monkeypatch.setattr("ser_nnunet.training.losses.quality", lambda overlap: torch.tensor(0.0))
        plain, imitating, batch = make_trainer(SERTrainerJoint), make_trainer(SERTrainerSAMDistill), make_batch()
        found = []
        for trainer in (plain, imitating):
            start_epoch(trainer, GUIDED)
            trainer.sam_slices_per_step = 4
            found.append(float(trainer.train_step(batch)["loss"]))
        assert found[0] == found[1]

    def test_loading_sam_draws_no_random_numbers(self, make_trainer):
        """Otherwise a guided and an unguided training would start from other weights, whatever the seed."""
        trainer = make_trainer()
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        start_epoch(trainer, GUIDED)
        assert trainer.guide is not None and torch.equal(torch.rand(3), expected)

    def test_sam_leaves_memory_when_the_guided_phase_ends(self, make_trainer):
        trainer = make_trainer()
        start_epoch(trainer, GUIDED)
        sam = weakref.ref(trainer.guide.sam)
        start_epoch(trainer, ALONE)
        gc.collect()
        assert trainer.guide is None and sam() is None

    def test_a_resumed_training_finds_itself_in_the_right_phase(self, make_trainer):
        trainer = make_trainer()
        start_epoch(trainer, 500)
        assert trainer.guide is not None
        start_epoch(trainer, 700)
        assert trainer.guide is None

    def test_sam_sees_a_bounded_number_of_slices(self, make_trainer, make_batch):
        trainer = make_trainer()
        trainer.sam_slices_per_step = 2
        start_epoch(trainer, GUIDED)
        seen = []
        encoder = trainer.guide.sam.image_encoder
        encoder.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
        trainer.train_step(make_batch(batch_size=4))
        assert sum(seen) == 2

    def test_a_training_that_is_guided_throughout_releases_sam_before_the_validation(self, make_trainer, tmp_path):
        trainer = make_trainer(SERTrainerJoint)
        start_epoch(trainer, ALONE)
        trainer.output_folder = str(tmp_path)
        assert trainer.guide is not None
        trainer.on_train_end()
        assert trainer.guide is None

    @pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
    def test_half_precision_around_the_step_changes_little(self, make_trainer, make_batch, precision):
        """As on a GPU, where nnU-Net's autocast is on: no dtype error, the same losses, and gradients everywhere."""
        trainer, batch = make_trainer(), make_batch()
        start_epoch(trainer, GUIDED)
        full = trainer.train_step(batch)
        again = make_trainer()
        start_epoch(again, GUIDED)
        with torch.autocast("cpu", dtype=precision):
            half = again.train_step(batch)
        assert half["loss_seg"] == pytest.approx(float(full["loss_seg"]), rel=0.05)
        assert half["loss_dist"] == pytest.approx(float(full["loss_dist"]), rel=0.05)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in again.ser_net.parameters())

    def test_a_patch_that_is_no_multiple_of_the_stride_is_guided(self, make_trainer, make_batch):
        trainer = make_trainer(patch=(30, 37))
        start_epoch(trainer, GUIDED)
        assert math.isfinite(trainer.train_step(make_batch(size=(30, 37)))["loss_seg"])

    def test_checkpoints_hold_the_network_and_nothing_of_sam(self, make_trainer, make_batch, tmp_path):
        trainer = make_trainer()
        start_epoch(trainer, GUIDED)
        trainer.train_step(make_batch())
        trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
        saved = torch.load(tmp_path / "checkpoint.pth", weights_only=False)
        network = SERNet(1, 2, (32, 32), [[1, 1]] + [[2, 2]] * 3)
        assert {k: v.shape for k, v in saved["network_weights"].items()} == {
            k: v.shape for k, v in network.state_dict().items()
        }
        count = len(saved["optimizer_state"]["param_groups"][0]["params"])
        assert count == len(list(network.parameters())), "the optimiser knows no parameter of SAM's"
        assert sorted(file.name for file in tmp_path.glob("checkpoint*")) == ["checkpoint.pth"]


def test_a_half_written_checkpoint_never_replaces_a_whole_one(make_trainer, tmp_path):
    """With --disable_checkpointing nothing is written; what a killed run left stays where it is."""
    trainer = make_trainer(SERTrainerNoSAM)
    (tmp_path / "checkpoint.pth").write_bytes(b"whole")
    (tmp_path / "checkpoint.pth.unfinished").write_bytes(b"ha")
    trainer.disable_checkpointing = True
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    assert (tmp_path / "checkpoint.pth").read_bytes() == b"whole"


def test_ddp_finds_no_unused_parameter(make_trainer, make_batch, sam_file, monkeypatch, tmp_path):
    """nnU-Net's DDP looks for none: a parameter without a gradient would stop the step after."""
    monkeypatch.setenv("SER_SAM_CHECKPOINT", str(sam_file))
    trainer = make_trainer()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        trainer.network = torch.nn.parallel.DistributedDataParallel(trainer.network)
        trainer.is_ddp = True
        for epoch in (GUIDED, ALONE):
            start_epoch(trainer, epoch)
            losses = [trainer.train_step(make_batch())["loss"] for _ in range(3)]
            assert losses[-1] < losses[0]
    finally:
        torch.distributed.destroy_process_group()


def test_both_losses_and_the_guided_dice_are_logged_every_epoch(make_trainer, make_batch, sam_file, monkeypatch):
    monkeypatch.setenv("SER_SAM_CHECKPOINT", str(sam_file))
    trainer = make_trainer()
    trainer.num_epochs, trainer.guided_fraction = 2, 0.5
    for epoch in range(2):
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()
        trainer.on_train_epoch_end([trainer.train_step(make_batch()) for _ in range(2)])
    log = trainer.logger.local_logger.my_fantastic_logging
    assert [len(log[key]) for key in LOGGED] == [2, 2, 2]
    assert [math.isnan(value) for value in log["train_losses_seg"]] == [False, True]
    assert [math.isnan(value) for value in log["guided_dice"]] == [False, True]
    assert log["train_losses"][0] == pytest.approx(log["train_losses_seg"][0] + log["train_losses_dist"][0], abs=1e-5)
    assert log["train_losses"][1] == pytest.approx(log["train_losses_dist"][1], abs=1e-5)


def test_a_checkpoint_of_another_trainer_gets_its_log_filled_up(make_trainer, tmp_path):
    trainer = make_trainer(SERTrainerNoSAM)
    path = str(tmp_path / "checkpoint.pth")
    for key in LOGGED:
        del trainer.logger.local_logger.my_fantastic_logging[key]
    trainer.logger.local_logger.my_fantastic_logging["train_losses"] = [1.0, 2.0]
    trainer.save_checkpoint(path)
    trainer.load_checkpoint(path)
    assert all(len(trainer.logger.local_logger.my_fantastic_logging[key]) == 2 for key in LOGGED)


@pytest.mark.parametrize(("dataset", "prompts", "classes"), [("classes", 2, 3), ("regions", 2, 2), ("ignore", 1, 2)])
def test_the_saved_plan_names_the_network_with_its_prompts(make_trainer, dataset, prompts, classes):
    trainer = make_trainer(dataset=dataset)
    entry = trainer.plans_manager.plans["configurations"]["2d"]["architecture"]
    assert entry["network_class_name"] == "ser_nnunet.network.ser_net.SERNet"
    assert entry["arch_kwargs"]["num_prompts"] == prompts
    assert trainer.network(torch.zeros(1, 1, 32, 32))[0].shape[1] == classes


def test_the_users_plan_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    plans = make_plans()
    before = str(plans)
    SERTrainerNoSAM(plans, "2d", 0, DATASETS["binary"], torch.device("cpu"))
    assert str(plans) == before


def test_l_dist_is_nnunets_own_loss(make_trainer):
    assert type(make_trainer(dataset="binary").loss) is DC_and_CE_loss
    assert type(make_trainer(dataset="regions").loss) is DC_and_BCE_loss


class TestRefusals:
    """What would surprise later is refused at once, with what to do."""

    def test_no_sam_checkpoint(self, make_trainer, monkeypatch):
        monkeypatch.delenv("SER_SAM_CHECKPOINT", raising=False)
        with pytest.raises(CheckpointError) as error:
            make_trainer().on_train_start()
        for part in ("SER_SAM_CHECKPOINT", "https://github.com/facebookresearch", "-tr SERTrainerNoSAM"):
            assert part in str(error.value)

    def test_a_missing_sam_file(self, make_trainer, monkeypatch, tmp_path):
        monkeypatch.setenv("SER_SAM_CHECKPOINT", str(tmp_path / "absent.pth"))
        with pytest.raises(CheckpointError, match=r"absent\.pth: no such file"):
            make_trainer().on_train_start()

    def test_three_dimensions(self, make_trainer):
        with pytest.raises(NotImplementedError, match=r"2D configurations so far.*train the configuration 2d"):
            make_trainer(patch=(16, 32, 32), configuration="3d_fullres")

    def test_the_cascade(self, tmp_path, monkeypatch):
        monkeypatch.setenv("nnUNet_results", str(tmp_path))
        plans = make_plans(previous_stage="2d_lowres")
        plans["configurations"]["2d_lowres"] = plans["configurations"]["2d"]
        with pytest.raises(NotImplementedError, match="don't support nnU-Net's cascade"):
            SERTrainer(plans, "2d", 0, DATASETS["binary"], torch.device("cpu"))
        assert not any(tmp_path.iterdir()), "no result folder for a training that can't be"

    def test_deep_supervision(self, make_trainer):
        class Deep(SERTrainerNoSAM):
            def initialize(self):
                self.enable_deep_supervision = True
                super().initialize()

        with pytest.raises(NotImplementedError, match="enable_deep_supervision = False"):
            make_trainer(Deep)

    @pytest.mark.parametrize("channels", [(0, 0), (0, 0, 1), (3,), (-1,)])
    def test_channels_that_arent_there(self, make_trainer, channels):
        class Colours(SERTrainer):
            sam_channels = channels

        with pytest.raises(ValueError, match=r"one channel or three as RGB.*1 channel"):
            make_trainer(Colours)


class TestPaper:
    """SERTrainerPaper carries the settings that are known."""

    def test_settings(self, make_trainer):
        trainer = make_trainer(SERTrainerPaper, batch_size=2)
        assert (trainer.num_epochs, trainer.schedule.guided_epochs, trainer.batch_size) == (300, 200, 8)
        assert trainer.sam_slices_per_step == 8
        assert trainer.oversample_foreground_percent == 0.85
        group = trainer.optimizer.param_groups[0]
        assert isinstance(trainer.optimizer, torch.optim.SGD)
        assert (group["lr"], group["weight_decay"]) == (0.01, 1e-4)
        assert sum(p.numel() for p in trainer.ser_net.aggregator.parameters()) == 41_282

    def test_augmentation_is_one_flip_and_one_rotation(self, make_trainer):
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


def test_short_schedules_keep_both_phases(make_trainer):
    trainer = make_trainer(TRAINERS["SERTrainer_10epochs"])
    assert (trainer.num_epochs, trainer.schedule.guided_epochs) == (10, 6)
