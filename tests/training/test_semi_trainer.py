"""SERTrainerSemiNoSAM and SERTrainerSemi: pseudo-labels replace the ignore label, with nnU-Net's own loaders."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.annotated_cases import find_unannotated
from ser_nnunet.training.cached_trainer import SERTrainerSemi
from ser_nnunet.training.semi_trainer import SERTrainerSemiNoSAM, repeat_cases
from ser_nnunet.training.variants import SERTrainerNoSAM
from tests.benchmark.tiny_dataset import CASES, NAME


def begin(trainer, epoch):
    """Start a training at an epoch, as if the ones before had been trained."""
    trainer.current_epoch = epoch
    trainer.on_train_start()
    trainer.on_train_epoch_start()


def test_before_the_first_round_only_annotated_cases_are_drawn(start):
    trainer = start(SERTrainerSemiNoSAM, labelled=2, num_epochs=10)
    begin(trainer, 0)
    unlabelled = trainer.list_unlabelled()
    drawn = {key for _ in range(20) for key in next(trainer.dataloader_train)["keys"]}
    assert len(unlabelled) == 2 and drawn == {*CASES[:4]} - {*unlabelled}


def test_a_round_labels_what_has_no_annotation_as_the_mean_teacher_sees_it(start):
    trainer = start(SERTrainerSemiNoSAM, labelled=2, num_epochs=10, confidence=0.5)
    begin(trainer, 8)
    unlabelled = trainer.list_unlabelled()
    teacher = trainer.start_mean_teacher().module
    for case in unlabelled:
        image = trainer.dataloader_train.data_loader._data.load_case(case)[0]
        with torch.no_grad():  # 32 x 32 pixels are one patch
            expected = teacher(torch.from_numpy(np.asarray(image[0]))[:, None]).argmax(1)
        assert (trainer.pseudo_labels.load(case)[0][0] == expected.numpy()).mean() > 0.999
    batch = next(trainer.dataloader_train)
    assert not (batch["target"] == 2).any(), "every voxel has a label now"
    drawn = {key for _ in range(100) for key in next(trainer.dataloader_train)["keys"]}  # an eighth of them each
    assert drawn == {*CASES[:4]}


def test_annotated_cases_keep_their_labels_and_have_no_pseudo_labels(start):
    trainer = start(SERTrainerSemiNoSAM, labelled=2, num_epochs=10)
    begin(trainer, 8)
    data = trainer.dataloader_train.data_loader._data
    original = type(data).__mro__[1](data.source_folder, list(CASES))
    for case in {*CASES[:4]} - {*trainer.list_unlabelled()}:
        assert not trainer.pseudo_labels.holds(case)
        assert np.array_equal(data.load_case(case)[1][:], original.load_case(case)[1][:])


def test_every_round_labels_anew_and_nothing_is_left_at_the_end(start, monkeypatch):
    labelled = []
    make = SERTrainerSemiNoSAM.make_pseudo_labels
    monkeypatch.setattr(
        SERTrainerSemiNoSAM,
        "make_pseudo_labels",
        lambda self: labelled.append(self.current_epoch) or make(self),
    )
    trainer = start(SERTrainerSemiNoSAM, labelled=1, num_epochs=4, rounds=(0.25, 0.75))
    trainer.run_training()
    assert labelled == [1, 3]
    assert trainer.mean_teacher is None and not trainer.pseudo_labels.folder.exists()
    assert "pseudo-labels for " in Path(trainer.log_file).read_text()


def test_a_resumed_training_has_pseudo_labels_from_its_first_epoch(start):
    trainer = start(SERTrainerSemiNoSAM, labelled=1, num_epochs=10)
    begin(trainer, 9)
    assert all(trainer.pseudo_labels.holds(case) for case in trainer.list_unlabelled())


@pytest.mark.parametrize("trainer_class", [SERTrainerSemiNoSAM, SERTrainerSemi])
def test_a_finished_training_is_resumed_for_its_validation_without_pseudo_labels(start, trainer_class):
    trainer = start(trainer_class, labelled=2, num_epochs=4)
    trainer.current_epoch = 4
    trainer.run_training()
    assert not trainer.pseudo_labels.folder.exists()


@pytest.mark.parametrize(("fraction", "rounds"), [(0.5, (0.75,)), (0.75, (0.74,))])
def test_rounds_without_sam_are_refused(start, fraction, rounds):
    """The share 0.74 of ten epochs lies before 0.75, but SAM guides the first seven."""
    with pytest.raises(ValueError, match=rf"end of SAM \(guided_fraction, {fraction}\): .* and SAM guides the first"):
        start(SERTrainerSemi, labelled=2, num_epochs=10, guided_fraction=fraction, rounds=rounds).initialize()


def test_labels_of_an_earlier_training_are_not_used(start):
    trainer = start(SERTrainerSemiNoSAM, labelled=1, num_epochs=10)
    case = trainer.list_unlabelled()[0]
    stale = np.ones((1, 3, 32, 32))
    trainer.pseudo_labels.save(case, stale, trainer.label_manager)
    begin(trainer, 0)
    assert (trainer.dataloader_train.data_loader._data.load_case(case)[1][:] == 2).all()
    trainer.current_epoch = 9  # resumed after the round
    trainer.get_tr_and_val_datasets()
    assert not np.array_equal(trainer.pseudo_labels.load(case)[0][:], stale)


def test_fold_all_learns_from_cases_without_annotation_and_does_not_validate_them(start, monkeypatch):
    trainer = start(SERTrainerSemiNoSAM, labelled=1)
    monkeypatch.setattr(trainer, "fold", "all")
    training, validation = trainer.do_split()
    assert set(training) == {*CASES} and set(validation) == {*CASES} - {*trainer.list_unlabelled()}


def test_the_mean_teacher_is_a_moving_average_and_gets_no_gradient(start):
    trainer = start(SERTrainerSemiNoSAM, labelled=2, num_epochs=10, teacher_decay=0.99)
    begin(trainer, 0)
    name, weight = next(iter(trainer.network.named_parameters()))
    trainer.train_step(next(trainer.dataloader_train))
    first = weight.detach().clone()
    trainer.train_step(next(trainer.dataloader_train))
    average = dict(trainer.mean_teacher.module.named_parameters())[name]
    torch.testing.assert_close(average.detach(), 0.99 * first + 0.01 * weight.detach())
    assert average.grad is None and not torch.equal(first, weight)


def test_sam_must_agree(start, monkeypatch):
    """The teacher finds the class in the upper half, SAM in the left half."""
    trainer = start(SERTrainerSemi, labelled=1, num_epochs=10)
    trainer.current_epoch = 8
    logits = torch.zeros(2, 3, 32, 32)
    logits[1, :, :16], logits[0, :, 16:] = 4, 4
    monkeypatch.setattr(trainer, "segment", lambda image: logits)
    left = torch.full((1, 32, 32), -4.0)
    left[..., :16] = 4
    asked = []
    monkeypatch.setattr(
        "ser_nnunet.training.cached_trainer.refine",
        lambda guide, embedding, masks: asked.append((embedding.shape, masks)) or left,
    )
    trainer.on_train_start()
    labels = trainer.pseudo_labels.load(trainer.list_unlabelled()[0])[0][0]
    quarters = [
        np.unique(labels[:, rows, columns]).tolist()
        for rows in (slice(0, 16), slice(16, 32))
        for columns in (slice(0, 16), slice(16, 32))
    ]
    assert quarters == [[1], [2], [2], [0]]
    assert len(asked) == 4 * 3 and asked[0][0] == (256, 4, 4), "the kept embeddings of four cases' three slices"
    torch.testing.assert_close(asked[0][1], logits[1:, 0] - logits[:1, 0])  # a class against the rest


@pytest.mark.parametrize("trainer_class", [SERTrainerSemiNoSAM, SERTrainerSemi])
def test_the_checkpoint_is_that_of_the_network_alone(start, trainer_class):
    trainer = start(trainer_class, labelled=1, rounds=(0.5,))
    trainer.run_training()
    saved = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=True)
    assert saved["network_weights"].keys() == trainer.bare_network.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "value"), [("labelled_share", 1.5), ("confidence", 0.2), ("rounds", (0.0, 0.5)), ("rounds", ())]
)
def test_impossible_settings_are_refused(make_trainer, name, value):
    wrong = type("Wrong", (SERTrainerSemiNoSAM,), {name: value})
    with pytest.raises(ValueError, match=rf"{name} must .* given"):
        make_trainer(wrong, "ignore")


@pytest.mark.parametrize("trainer_class", [SERTrainerSemiNoSAM, SERTrainerSemi])
def test_a_data_set_without_ignore_label_is_refused(make_trainer, trainer_class):
    with pytest.raises(ValueError, match=r"no label 'ignore'.*SERTrainerNoSAM"):
        make_trainer(trainer_class, "binary")


def test_a_fold_without_any_annotation_is_refused(start, monkeypatch):
    trainer = start(SERTrainerSemiNoSAM, labelled=1)
    monkeypatch.setattr(trainer, "do_split", lambda: (trainer_cases, CASES[4:]))
    trainer_cases = find_unannotated(trainer.preprocessed_dataset_folder, CASES[:4], trainer.label_manager)
    with pytest.raises(UserError, match="none of 3 training cases has an annotated voxel"):
        trainer.on_train_start()


def test_a_fold_whose_validation_has_no_annotation_is_refused(start):
    trainer = start(SERTrainerNoSAM, labelled=1)
    trainer._unannotated = {case: case in CASES[4:] for case in CASES}
    with pytest.raises(UserError, match="none of its 1 validation cases has an annotated voxel"):
        trainer.do_split()


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


def test_the_view_takes_away_the_other_cases_labels_and_nothing_else(start, tiny):
    trainer = start(SERTrainerSemiNoSAM, labelled=2)
    training, validation = trainer.do_split()
    unlabelled = find_unannotated(trainer.preprocessed_dataset_folder, training, trainer.label_manager)
    assert len(training) == 4 and len(unlabelled) == 2 and validation == CASES[4:]
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    theirs = nnUNetDatasetBlosc2(str(tiny / NAME / "nnUNetPlans_2d"), list(CASES))
    ours = nnUNetDatasetBlosc2(trainer.preprocessed_dataset_folder, list(CASES))
    for case in CASES:
        (image, labels), (shown, given) = theirs.load_case(case)[:2], ours.load_case(case)[:2]
        assert np.array_equal(image[:], shown[:])
        assert (given[:] == 2).all() if case in unlabelled else np.array_equal(labels[:], given[:])
    described = json.loads((Path(trainer.preprocessed_dataset_folder).parent / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "lesion": 1, "ignore": 2}


def test_other_trainers_leave_cases_without_annotation_out(start):
    trainer = start(SERTrainerNoSAM, labelled=1)
    training, validation = trainer.do_split()
    assert len(training) == 1 and validation == CASES[4:]
    assert "3 cases without any annotated voxel are left out" in Path(trainer.log_file).read_text()
