"""SERTrainer: which loss trains which part when, what is logged and saved, and what is refused."""

import gc
import math
import weakref

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss

from ser_nnunet.network.ser_net import SERNet
from ser_nnunet.nnunet.log import epoch_log
from ser_nnunet.sam.checkpoint import CheckpointError
from ser_nnunet.training.trainer import LOGGED
from ser_nnunet.training.variants import (
    SERTrainerJoint,
    SERTrainerNoSAM,
    SERTrainerNoSAMDoubleBatch,
    SERTrainerSAMDistill,
    SERTrainerTwoPhases,
)
from tests.training.helpers import ALONE, DATASETS, GUIDED, is_zero, make_plans, part_gradients, silence, start_epoch


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("epoch", [GUIDED, ALONE])
def test_every_parameter_gets_a_gradient_in_every_step(make_trainer, make_batch, sam_checkpoint, dataset, epoch):
    trainer = make_trainer(dataset=dataset)
    start_epoch(trainer, epoch)
    output = trainer.train_step(make_batch(dataset))
    gradients = part_gradients(trainer)
    assert all(gradient is not None for part in gradients.values() for gradient in part)
    assert not any(is_zero(part) for part in gradients.values())
    assert math.isfinite(output["loss"]) and math.isfinite(output["loss_dist"])
    assert math.isfinite(output["loss_seg"]) == (epoch == GUIDED)


class TestPhases:
    """The paper: L_seg alone trains the prompt learner in the guided phase, L_dist alone afterwards."""

    @pytest.fixture(autouse=True)
    def checkpoint(self, sam_checkpoint):
        pass

    def gradients(self, make_trainer, make_batch, epoch, silenced, trainer_class=SERTrainerTwoPhases):
        trainer = make_trainer(trainer_class)
        start_epoch(trainer, epoch)
        silence(trainer, silenced)
        trainer.train_step(make_batch())
        return part_gradients(trainer)

    def test_l_dist_doesnt_reach_the_prompt_learner_in_the_guided_phase(self, make_trainer, make_batch):
        gradients = self.gradients(make_trainer, make_batch, GUIDED, "L_seg")
        assert is_zero(gradients["prompt_learner"]) and not is_zero(gradients["aggregator"])

    def test_l_seg_doesnt_reach_the_aggregator(self, make_trainer, make_batch):
        gradients = self.gradients(make_trainer, make_batch, GUIDED, "L_dist")
        assert not is_zero(gradients["prompt_learner"]) and is_zero(gradients["aggregator"])

    def test_all_gradients_come_from_l_dist_afterwards(self, make_trainer, make_batch):
        gradients = self.gradients(make_trainer, make_batch, ALONE, "L_dist")
        assert is_zero(gradients["prompt_learner"]) and is_zero(gradients["aggregator"])

    @pytest.mark.parametrize("silenced", ["L_seg", "L_dist"])
    def test_joint_trains_the_prompt_learner_by_both(self, make_trainer, make_batch, silenced):
        gradients = self.gradients(make_trainer, make_batch, GUIDED, silenced, SERTrainerJoint)
        assert not is_zero(gradients["prompt_learner"])

    def test_sam_distillation_adds_to_the_loss_and_reaches_the_whole_network(self, make_trainer, make_batch):
        losses, gradients = [], []
        for trainer_class in (SERTrainerJoint, SERTrainerSAMDistill):
            trainer = make_trainer(trainer_class)
            trainer.sam_slices_per_step = 4
            start_epoch(trainer, GUIDED)
            losses.append(float(trainer.train_step(make_batch())["loss"]))
            gradients.append(part_gradients(trainer))
        assert losses[1] > losses[0] + 0.1, "cross-entropy towards SAM's masks is positive"
        for part in ("prompt_learner", "aggregator"):
            assert any(not torch.equal(a, b) for a, b in zip(gradients[0][part], gradients[1][part], strict=True))

    def test_sam_is_released_when_the_guided_phase_ends(self, make_trainer):
        trainer = make_trainer()
        start_epoch(trainer, GUIDED)
        sam = weakref.ref(trainer.guidance.guide.sam)
        start_epoch(trainer, ALONE)
        gc.collect()
        assert trainer.guidance is None and sam() is None

    def test_a_resumed_training_is_in_the_right_phase(self, make_trainer):
        trainer = make_trainer()
        start_epoch(trainer, 500)
        assert trainer.guidance is not None
        start_epoch(trainer, 700)
        assert trainer.guidance is None

    def test_sam_is_released_before_the_validation_of_a_training_that_is_guided_throughout(
        self, make_trainer, tmp_path
    ):
        trainer = make_trainer(SERTrainerJoint)
        start_epoch(trainer, ALONE)
        trainer.output_folder = str(tmp_path)
        assert trainer.guidance is not None
        trainer.on_train_end()
        assert trainer.guidance is None

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

    @pytest.mark.parametrize("trainer_class", [SERTrainerTwoPhases, SERTrainerJoint])
    def test_the_gradient_scaler_doesnt_change_the_step(self, make_trainer, make_batch, trainer_class):
        """nnU-Net scales the loss on a GPU; the scale must cancel out in L_seg's weight, the clipping and the step."""
        weights = []
        for scaler in (None, torch.amp.GradScaler("cpu")):
            trainer = make_trainer(trainer_class)
            trainer.grad_scaler = scaler
            trainer.optimizer = torch.optim.SGD(trainer.network.parameters(), 0.1)  # others would hide a wrong scale
            start_epoch(trainer, GUIDED)
            trainer.train_step(make_batch())
            weights.append((trainer.guidance.weight, *trainer.network.parameters()))
        assert weights[0][0] == pytest.approx(weights[1][0], rel=1e-4)
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(weights[0][1:], weights[1][1:], strict=True))

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
        count = sum(len(group["params"]) for group in saved["optimizer_state"]["param_groups"])
        assert count == len(list(network.parameters())), "the optimiser has no parameter of SAM's"


def test_ddp_finds_no_unused_parameter(make_trainer, make_batch, sam_checkpoint, tmp_path):
    """nnU-Net's DDP looks for none: a parameter without a gradient would stop the step after."""
    trainer = make_trainer()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        trainer.network = torch.nn.parallel.DistributedDataParallel(trainer.network)
        trainer.is_ddp = True
        for epoch in (GUIDED, ALONE):
            start_epoch(trainer, epoch)
            outputs = [trainer.train_step(make_batch()) for _ in range(3)]
            assert outputs[-1]["loss"] < outputs[0]["loss"]
            trainer.on_train_epoch_end(outputs)
    finally:
        torch.distributed.destroy_process_group()


def test_both_losses_and_the_dice_of_sams_masks_are_logged_every_epoch(make_trainer, make_batch, sam_checkpoint):
    trainer = make_trainer()
    trainer.num_epochs, trainer.guided_fraction = 2, 0.5
    for epoch in range(2):
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()
        trainer.on_train_epoch_end([trainer.train_step(make_batch()) for _ in range(2)])
    log = epoch_log(trainer)
    assert [len(log[key]) for key in LOGGED] == [2, 2, 2]
    assert [math.isnan(value) for value in log["train_losses_seg"]] == [False, True]
    assert [math.isnan(value) for value in log["guided_dice"]] == [False, True]
    assert log["train_losses"][0] == pytest.approx(log["train_losses_seg"][0] + log["train_losses_dist"][0], abs=1e-5)
    assert log["train_losses"][1] == pytest.approx(log["train_losses_dist"][1], abs=1e-5)


def test_the_log_file_tells_when_sam_guides_and_at_which_weight(make_trainer, make_batch, sam_checkpoint):
    trainer, lines = make_trainer(SERTrainerJoint), []
    trainer.num_epochs = 2
    trainer.print_to_log_file = lambda *words, **_: lines.append(" ".join(map(str, words)))
    start_epoch(trainer, 0)
    trainer.on_train_epoch_end([trainer.train_step(make_batch())])
    weight = f"{trainer.guidance.weight:.3g}"
    trainer.release_guidance()
    assert any("SAM guides epochs 0 to 1 of 2" in line and str(sam_checkpoint) in line for line in lines)
    assert any(f"at weight {weight}, Dice of SAM's masks" in line for line in lines)
    assert lines[-1] == "SAM guides no further: it was released from memory"


def test_a_checkpoint_of_another_trainer_gets_its_log_filled_up(make_trainer, tmp_path):
    trainer = make_trainer(SERTrainerNoSAM)
    path = str(tmp_path / "checkpoint.pth")
    for key in LOGGED:
        del epoch_log(trainer)[key]
    epoch_log(trainer)["train_losses"] = [1.0, 2.0]
    trainer.save_checkpoint(path)
    trainer.load_checkpoint(path)
    assert all(len(epoch_log(trainer)[key]) == 2 for key in LOGGED)


@pytest.mark.parametrize(("dataset", "prompts", "classes"), [("classes", 2, 3), ("regions", 2, 2), ("ignore", 1, 2)])
def test_the_saved_plan_names_the_network_with_its_prompts(make_trainer, dataset, prompts, classes):
    trainer = make_trainer(dataset=dataset)
    entry = trainer.plans_manager.plans["configurations"]["2d"]["architecture"]
    assert entry["network_class_name"] == "ser_nnunet.network.ser_net.SERNet"
    assert entry["arch_kwargs"]["num_prompts"] == prompts
    assert trainer.network(torch.zeros(1, 1, 32, 32))[0].shape[1] == classes


def test_the_users_plan_isnt_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    plans = make_plans()
    before = str(plans)
    SERTrainerNoSAM(plans, "2d", 0, DATASETS["binary"], torch.device("cpu"))
    assert str(plans) == before


def test_l_dist_is_nnunets_own_loss(make_trainer):
    assert type(make_trainer(dataset="binary").loss) is DC_and_CE_loss
    assert type(make_trainer(dataset="regions").loss) is DC_and_BCE_loss


class TestRefusals:
    """What would fail later is refused at once, with what to do."""

    def test_no_sam_checkpoint(self, make_trainer, monkeypatch):
        monkeypatch.delenv("SER_SAM_CHECKPOINT", raising=False)
        with pytest.raises(
            CheckpointError, match=r"SERTrainerTwoPhases is guided by SAM.*SER_SAM_CHECKPOINT isn't set"
        ):
            make_trainer(initialize=False).on_train_start()

    def test_a_missing_sam_file(self, make_trainer, monkeypatch, tmp_path):
        monkeypatch.setenv("SER_SAM_CHECKPOINT", str(tmp_path / "absent.pth"))
        with pytest.raises(CheckpointError, match=r"absent\.pth: no such file"):
            make_trainer().on_train_start()

    @pytest.mark.parametrize("where", ["class attribute", "__init__", "object"])
    def test_deep_supervision(self, make_trainer, where):
        class Deep(SERTrainerNoSAM):
            enable_deep_supervision = where == "class attribute"

            def __init__(self, plans, configuration, fold, dataset_json, device):
                super().__init__(plans, configuration, fold, dataset_json, device)
                if where == "__init__":
                    self.enable_deep_supervision = True

        trainer = make_trainer(Deep, initialize=False)
        if where == "object":
            trainer.enable_deep_supervision = True
        with pytest.raises(NotImplementedError, match=r"SERNet has no deep supervision.*enable_deep_supervision"):
            trainer.initialize()

    def test_channels_that_dont_exist(self, make_trainer):
        class SecondChannel(SERTrainerTwoPhases):
            sam_channels = (1,)

        with pytest.raises(ValueError, match=r"sam_channels = \(1,\).*1 channel"):
            make_trainer(SecondChannel)

    def test_an_impossible_ratio_of_gradients(self, make_trainer, sam_checkpoint):
        trainer = make_trainer(SERTrainerJoint)
        trainer.guidance_ratio = 0
        with pytest.raises(ValueError, match="guidance_ratio must be above 0"):
            trainer.on_train_start()


def test_twice_the_batch_is_twice_the_plans_or_the_trainers_own(make_trainer):
    class TwiceTen(SERTrainerNoSAMDoubleBatch):
        batch_size = 10

    trainers = [make_trainer(each, batch_size=4) for each in (SERTrainerNoSAM, SERTrainerNoSAMDoubleBatch, TwiceTen)]
    assert [trainer.batch_size for trainer in trainers] == [4, 8, 20]


def test_sams_checkpoint_may_be_named_from_the_home_folder(make_trainer, monkeypatch, tmp_path):
    """A file of variables keeps the ~ that a shell would replace."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SER_SAM_CHECKPOINT", "~/sam.pth")
    assert make_trainer(SERTrainerJoint).guidance_settings.checkpoint == str(tmp_path / "sam.pth")
