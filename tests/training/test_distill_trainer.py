"""SERTrainerDistill: both losses train the network, the teacher is there while training runs, and leaves no trace."""

import math

import pytest
import torch

from ser_nnunet.nnunet.log import epoch_log
from ser_nnunet.training.distill_trainer import LOGGED_DISTILLATION, SERTrainerDistill
from ser_nnunet.training.distillation import distillation_loss
from ser_nnunet.training.teacher import TeacherError
from ser_nnunet.training.variants import SERTrainerNoSAM
from ser_nnunet.utils.hashing import file_sha256
from tests.export.model_folders import unet
from tests.training.helpers import DATASETS, is_zero, part_gradients
from tests.training.helpers import start_epoch as start_unguided_epoch
from tests.training.teachers import unet_plans, write_teacher


@pytest.fixture
def make_student(make_trainer, tmp_path, monkeypatch):
    """Build a student with a teacher for its data set; attributes are set before it is initialised."""

    def make(dataset="binary", trainer_class=SERTrainerDistill, teacher=True, **settings):
        monkeypatch.setattr(trainer_class, "do_split", lambda self: (["c"], ["a", "b"]))
        channels = len(DATASETS[dataset]["channel_names"])
        images = {"normalization_schemes": ["ZScoreNormalization"] * channels, "use_mask_for_norm": [False] * channels}
        if teacher:
            folder = tmp_path / "models" / dataset
            folder.is_dir() or write_teacher(folder, dataset, validation=["a", "b"], plans=unet_plans(**images))
            monkeypatch.setenv("SER_TEACHER", str(folder))
        trainer = make_trainer(trainer_class, dataset, initialize=False, **images)
        for name, value in settings.items():
            setattr(trainer, name, value)
        trainer.initialize()
        return trainer

    return make


def start_epoch(trainer, epoch=0):
    start_unguided_epoch(trainer, epoch)
    for key in LOGGED_DISTILLATION:
        epoch_log(trainer)[key] = [0.0] * epoch


@pytest.mark.parametrize("dataset", DATASETS)
def test_both_losses_are_added_and_every_parameter_gets_a_gradient(make_student, make_batch, dataset):
    trainer = make_student(dataset, distillation_weight=3.0)
    start_epoch(trainer)
    output = trainer.train_step(make_batch(dataset))
    assert output["loss"] == pytest.approx(output["loss_dist"] + 3 * output["loss_distillation"], rel=1e-5)
    assert output["loss_distillation"] > 0
    gradients = part_gradients(trainer)
    assert all(gradient is not None for part in gradients.values() for gradient in part)
    assert not any(is_zero(part) for part in gradients.values())


def test_the_loss_is_that_of_the_teachers_logits_on_the_same_patch(make_student, make_batch):
    trainer, batch = make_student("classes", distillation_temperature=3.0), make_batch("classes")
    start_epoch(trainer)
    with torch.no_grad():
        logits, wanted = trainer.network(batch["data"])[0], trainer.load_teacher().network(batch["data"])
    expected = distillation_loss(logits, wanted, trainer.label_manager, 3.0)
    assert trainer.train_step(batch)["loss_distillation"] == pytest.approx(expected.item(), rel=1e-5)


def test_a_3d_network_learns_from_a_3d_teacher(make_trainer, make_batch, tmp_path, monkeypatch):
    patch = (16, 32, 32)
    plans = unet_plans(configuration="3d_fullres", patch=patch, architecture=unet(3))
    monkeypatch.setenv("SER_TEACHER", str(write_teacher(tmp_path / "model", plans=plans, validation=["a", "b"])))
    monkeypatch.setattr(SERTrainerDistill, "do_split", lambda self: (["c"], ["a", "b"]))
    trainer = make_trainer(SERTrainerDistill, configuration="3d_fullres", patch=patch)
    start_epoch(trainer)
    output = trainer.train_step(make_batch(batch_size=2, size=patch))
    assert output["loss"] == pytest.approx(output["loss_dist"] + output["loss_distillation"], rel=1e-5)
    assert output["teacher_overlap"].shape == (3, 1) and output["teacher_overlap"].sum() > 0


def test_weight_0_is_the_training_without_a_teacher(make_student, make_batch):
    weights = []
    for trainer_class, settings in ((SERTrainerDistill, {"distillation_weight": 0.0}), (SERTrainerNoSAM, {})):
        trainer = make_student(trainer_class=trainer_class, **settings)
        start_epoch(trainer)
        trainer.train_step(make_batch())
        weights.append(list(trainer.network.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.parametrize("dataset", ["ignore", "regions_ignore"])
def test_voxels_without_annotation_still_learn_from_the_teacher(make_student, make_batch, dataset):
    trainer, batch = make_student(dataset), make_batch(dataset)
    if dataset == "ignore":
        batch["target"][:] = 2
    else:
        batch["target"][:, -1] = True
    start_epoch(trainer)
    trainer.loss = lambda logits, target: logits.sum() * 0
    output = trainer.train_step(batch)
    assert output["loss_distillation"] > 0 and not is_zero(part_gradients(trainer)["aggregator"])
    assert (output["teacher_overlap"] == 0).all(), "without annotation the teacher's Dice isn't known"


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision_changes_little(make_student, make_batch, precision):
    losses = []
    for autocast in (False, True):
        trainer = make_student()
        start_epoch(trainer)
        with torch.autocast("cpu", dtype=precision, enabled=autocast):
            losses.append(float(trainer.train_step(make_batch())["loss_distillation"]))
        assert all(p.grad is not None and p.grad.isfinite().all() for p in trainer.ser_net.parameters())
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_ddp_logs_the_same_and_finds_no_unused_parameter(make_student, make_batch, tmp_path):
    trainer = make_student()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        trainer.network = torch.nn.parallel.DistributedDataParallel(trainer.network)
        trainer.is_ddp = True
        start_epoch(trainer)
        outputs = [trainer.train_step(make_batch()) for _ in range(3)]
        assert outputs[-1]["loss"] < outputs[0]["loss"]
        trainer.on_train_epoch_end(outputs)
    finally:
        torch.distributed.destroy_process_group()
    assert len(epoch_log(trainer)["teacher_dice"]) == 1


def test_losses_and_the_teachers_dice_are_logged_every_epoch(make_student, make_batch):
    trainer = make_student()
    batch = make_batch()
    batch["target"] = trainer.load_teacher()(batch["data"]).argmax(1, keepdim=True)  # a perfect teacher
    for epoch in range(2):
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()
        outputs = [trainer.train_step(batch) for _ in range(2)]
        trainer.on_train_epoch_end(outputs)
    log = epoch_log(trainer)
    assert log["teacher_dice"] == [1.0, 1.0]
    assert log["train_losses_distillation"][1] == pytest.approx(sum(o["loss_distillation"] for o in outputs) / 2)
    for epoch in range(2):
        both = log["train_losses_dist"][epoch] + log["train_losses_distillation"][epoch]
        assert log["train_losses"][epoch] == pytest.approx(both, abs=1e-5)
    assert [math.isnan(value) for value in log["train_losses_seg"]] == [True, True]


class TestTeacher:
    def lines_of(self, trainer):
        lines = []
        trainer.print_to_log_file = lambda *words, **_: lines.append(" ".join(map(str, words)))
        trainer.load_teacher()
        return lines

    def test_the_log_names_its_checkpoint_and_sha256(self, make_student, tmp_path):
        (line,) = self.lines_of(make_student())
        checkpoint = tmp_path / "models/binary/fold_0/checkpoint_final.pth"
        assert f"{checkpoint} (SHA-256 {file_sha256(checkpoint)}), nnUNetTrainer on Dataset001_Tiny, fold 0" in line

    def test_one_of_another_data_set_is_warned_of(self, make_student, tmp_path, monkeypatch):
        trainer = make_student(teacher=False)
        folder = write_teacher(tmp_path / "other", plans=unet_plans() | {"dataset_name": "Dataset002_Other"})
        monkeypatch.setenv("SER_TEACHER", str(folder))
        assert "WARNING: the teacher was trained on Dataset002_Other" in self.lines_of(trainer)[1]

    def test_a_missing_one_is_reported_before_anything_is_loaded(self, make_student, monkeypatch):
        monkeypatch.delenv("SER_TEACHER", raising=False)
        trainer = make_student(teacher=False)
        monkeypatch.setattr(trainer, "get_dataloaders", lambda: pytest.fail("the data were loaded first"))
        with pytest.raises(TeacherError, match=r"(?s)SERTrainerDistill learns.*SER_TEACHER isn't set.*SERTrainerNoSAM"):
            trainer.on_train_start()

    def test_one_that_has_seen_the_validation_cases_is_refused(self, make_student, monkeypatch):
        trainer = make_student()
        monkeypatch.setattr(SERTrainerDistill, "do_split", lambda self: (["a"], ["b", "c"]))
        with pytest.raises(TeacherError, match=r"split: 1 validation cases .* \(c\)"):
            trainer.load_teacher()

    def test_it_is_released_before_the_validation(self, make_student, tmp_path):
        trainer = make_student(output_folder=str(tmp_path))
        start_epoch(trainer, 999)
        trainer.load_teacher()
        trainer.on_train_end()
        assert trainer.teacher is None

    def test_a_finished_training_is_resumed_without_one(self, start, monkeypatch):
        """nnU-Net's on_train_start reads all properties of a trainer for its debug.json; none may load the teacher."""
        monkeypatch.delenv("SER_TEACHER", raising=False)
        trainer = start(SERTrainerDistill)
        trainer.current_epoch = trainer.num_epochs
        trainer.on_train_start()
        assert trainer.teacher is None

    def test_checkpoints_hold_nothing_of_it(self, make_student, make_batch, make_trainer, tmp_path):
        trainer = make_student()
        start_epoch(trainer)
        trainer.train_step(make_batch())
        trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
        saved = torch.load(tmp_path / "checkpoint.pth", weights_only=False)
        reference = make_trainer(SERTrainerNoSAM)
        assert saved["network_weights"].keys() == reference.network.state_dict().keys()
        assert "models/binary" not in str({key: value for key, value in saved.items() if key != "network_weights"})


def test_a_checkpoint_without_the_distillations_log_gets_it_filled_up(make_student, tmp_path):
    trainer = make_student()
    for key in LOGGED_DISTILLATION:
        del epoch_log(trainer)[key]
    epoch_log(trainer)["train_losses"] = [1.0, 2.0]
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    trainer.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    assert all(len(epoch_log(trainer)[key]) == 2 for key in LOGGED_DISTILLATION)


def test_impossible_settings_are_refused_at_once(make_student):
    with pytest.raises(
        ValueError, match=r"distillation_weight .* -1 .*; distillation_temperature .* 0 .*; guided_fract"
    ):
        make_student(distillation_weight=-1, distillation_temperature=0, guided_fraction=0.5)
