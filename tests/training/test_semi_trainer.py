"""SERTrainerSemiNoSAM and SERTrainerSemi: what is annotated is learnt as ever, the rest by pseudo-labels."""

import numpy as np
import pytest
import torch

from ser_nnunet.nnunet.log import epoch_log
from ser_nnunet.training.cached_trainer import SERTrainerSemi
from ser_nnunet.training.semi_trainer import LOGGED_PSEUDO_LABELS, SERTrainerSemiNoSAM, repeat_cases
from ser_nnunet.training.variants import SERTrainerNoSAM
from tests.training.helpers import start_epoch as start_unguided_epoch


def start_epoch(trainer, epoch=0):
    start_unguided_epoch(trainer, epoch)
    for key in LOGGED_PSEUDO_LABELS:
        epoch_log(trainer)[key] = [0.0] * epoch


class Unmixed(SERTrainerSemiNoSAM):
    mixing = False


@pytest.mark.parametrize("dataset", ["ignore", "regions_ignore"])
def test_annotated_voxels_are_learnt_from_their_labels_and_ignored_ones_from_pseudo_labels(
    make_trainer, make_batch, dataset
):
    trainer, batch = make_trainer(Unmixed, dataset), make_batch(dataset)
    start_epoch(trainer, 999)
    output = trainer.train_step(batch)
    known = trainer.loss(trainer.network(batch["data"])[0] * 0, batch["target"])  # the loss must accept the format
    assert torch.isfinite(known)
    ignored = batch["target"][:, -1:].bool() if dataset.startswith("regions") else batch["target"] == 2
    assert output["pseudo_voxels"][1] == ignored.sum() > 0
    labelled = ~trainer.pseudo[:, -1:].bool() if dataset.startswith("regions") else trainer.pseudo != 2
    assert not (labelled & ~ignored).any(), "a pseudo-label never replaces annotation"
    assert output["loss"] == pytest.approx(output["loss_dist"], rel=1e-5)


def test_pseudo_labels_are_the_mean_teachers(make_trainer, make_batch):
    class Certain(Unmixed):
        confidence = 0.5

    trainer, batch = make_trainer(Certain, "ignore"), make_batch("ignore")
    start_epoch(trainer, 999)
    trainer.prepare_patches(batch["data"], batch["target"])
    with torch.no_grad():
        wanted = trainer.mean_teacher.module(batch["data"]).argmax(1, keepdim=True)
    ignored = batch["target"] == 2
    assert torch.equal(trainer.pseudo[ignored], wanted[ignored])


def test_the_mean_teacher_is_a_moving_average_and_gets_no_gradient(make_trainer, make_batch):
    trainer = make_trainer(SERTrainerSemiNoSAM, "ignore")
    start_epoch(trainer)
    name, weight = next(iter(trainer.network.named_parameters()))
    for _ in range(2):
        trainer.train_step(make_batch("ignore"))
        if trainer.mean_teacher.n_averaged == 1:
            first = weight.detach().clone()
    average = dict(trainer.mean_teacher.module.named_parameters())[name]
    torch.testing.assert_close(average.detach(), 0.99 * first + 0.01 * weight.detach())
    assert average.grad is None and not torch.equal(first, weight)


def test_without_ignored_voxels_and_mixing_it_is_the_training_without_pseudo_labels(make_trainer, make_batch):
    weights = []
    for trainer_class in (Unmixed, SERTrainerNoSAM):
        trainer, batch = make_trainer(trainer_class, "ignore"), make_batch("ignore")
        batch["target"] = batch["target"].clamp_max(1)
        start_epoch(trainer) if trainer_class is Unmixed else start_unguided_epoch(trainer, 0)
        trainer.train_step(batch)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in trainer.network.parameters()]))
    assert torch.equal(*weights)


def test_the_weight_rises_to_its_value(make_trainer):
    trainer = make_trainer(SERTrainerSemiNoSAM, "ignore")
    found = []
    for trainer.current_epoch in (0, 499, 500, 550, 600, 999):  # of 1000, 500 of them without
        found.append(trainer.current_weight)
    assert found == pytest.approx([0, 0, np.exp(-5), np.exp(-1.25), 1, 1])


@pytest.mark.parametrize(("name", "value"), [("labelled_share", 1.5), ("confidence", 0.2), ("pseudo_weight", -1.0)])
def test_impossible_settings_are_refused(make_trainer, name, value):
    wrong = type("Wrong", (SERTrainerSemiNoSAM,), {name: value})
    with pytest.raises(ValueError, match=rf"{name} must lie between .* {value} given"):
        make_trainer(wrong, "ignore")


@pytest.mark.parametrize("trainer_class", [SERTrainerSemiNoSAM, SERTrainerSemi])
def test_a_data_set_without_ignore_label_is_refused(make_trainer, trainer_class):
    with pytest.raises(ValueError, match=r"no label 'ignore'.*SERTrainerNoSAM"):
        make_trainer(trainer_class, "binary")


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "share"), [(5, 100, 0.5), (100, 5, 0.5), (3, 7, 0.25), (10, 10, 0.8), (7, 3, 0.2)]
)
def test_half_of_the_draws_have_annotation_however_many_cases_there_are(labelled, unlabelled, share):
    with_labels, without = [f"l{n}" for n in range(labelled)], [f"u{n}" for n in range(unlabelled)]
    repeated = repeat_cases(with_labels, without, share)
    assert sum(case[0] == "l" for case in repeated) / len(repeated) == pytest.approx(share, abs=0.04)
    assert set(repeated) == {*with_labels, *without}


def test_one_kind_alone_is_drawn_as_ever():
    assert repeat_cases(["a", "b"], [], 0.5) == ["a", "b"] and repeat_cases([], ["c"], 0.5) == ["c"]
    assert repeat_cases(["a"], ["c"], 1) == ["a"]
