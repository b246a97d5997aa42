"""SERTrainerSemiNoSAM and SERTrainerSemi: pseudo-labels replace the ignore label, with nnU-Net's own loaders."""

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_nnunet.benchmark.training_process import use_bfloat16
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.annotated_cases import find_unannotated
from ser_nnunet.training.cached_trainer import SERTrainerSemi
from ser_nnunet.training.pseudo_label_files import repeat_cases
from ser_nnunet.training.semi_trainer import SERTrainerSemiNoSAM
from ser_nnunet.training.variants import SERTrainerNoSAM
from tests.benchmark.tiny_dataset import CASES, NAME


def begin(trainer, epoch):
    """Start a training, and its epoch, as if the ones before had been trained."""
    trainer.on_train_start()
    trainer.current_epoch = epoch
    trainer.on_train_epoch_start()


def equal(one, other):
    """Return whether two state dicts hold the same."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_before_the_first_round_only_annotated_cases_are_drawn(start):
    trainer = start(SERTrainerSemiNoSAM, labelled=2, num_epochs=10)
    begin(trainer, 0)
    unlabelled = trainer.unlabelled_cases
    drawn = {key for _ in range(20) for key in next(trainer.dataloader_train)["keys"]}
    assert len(unlabelled) == 2 and drawn == {*CASES[:4]} - {*unlabelled}


def test_a_round_labels_what_has_no_annotation_as_a_prediction_would(start):
    trainer = start(SERTrainerSemiNoSAM, labelled=2, num_epochs=10)
    begin(trainer, 4)
    trainer.train_step(next(trainer.dataloader_train))
    teacher = deepcopy(trainer.bare_network).eval()
    trainer.current_epoch = 5
    trainer.on_train_epoch_start()
    for case in trainer.unlabelled_cases:
        image = trainer.dataloader_train.data_loader._data.load_case(case)[0]
        slices = torch.from_numpy(np.asarray(image[0]))[:, None]  # 32 x 32 pixels are one patch
        with torch.no_grad():
            mirrored = [teacher(slices.flip(axes)).flip(axes) for axes in ([], [2], [3], [2, 3])]
        expected = sum(mirrored).argmax(1)
        assert (trainer.pseudo_labels(5).load(case)[0][0] == expected.numpy()).mean() > 0.999
    batch = next(trainer.dataloader_train)
    assert not (batch["target"] == 2).any(), "every voxel has a label now"
    assert {key for _ in range(20) for key in next(trainer.dataloader_train)["keys"]} == {*CASES[:4]}


def test_the_student_starts_from_the_initial_weights_with_the_full_rate(start):
    trainer = start(SERTrainerSemiNoSAM, labelled=2, num_epochs=4)
    begin(trainer, 0)
    initial = {name: value.clone() for name, value in trainer.bare_network.state_dict().items()}
    trainer.train_step(next(trainer.dataloader_train))
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_latest.pth"))
    trained = {name: value.clone() for name, value in trainer.bare_network.state_dict().items()}
    trainer.current_epoch = 2
    trainer.on_train_epoch_start()
    assert not trainer.optimizer.state and trainer.optimizer.param_groups[0]["lr"] == trainer.initial_lr
    assert equal(trainer.bare_network.state_dict(), initial) and not equal(trained, initial)
    assert equal(trainer.pseudo_labels(2).load_teacher(), trained)


def test_annotated_cases_keep_their_labels_and_have_no_pseudo_labels(start):
    trainer = start(SERTrainerSemiNoSAM, labelled=2, num_epochs=10)
    begin(trainer, 5)
    data = trainer.dataloader_train.data_loader._data
    original = type(data).__mro__[1](data.source_folder, list(CASES))
    for case in {*CASES[:4]} - {*trainer.unlabelled_cases}:
        assert not trainer.pseudo_labels(5).holds(case)
        assert np.array_equal(data.load_case(case)[1][:], original.load_case(case)[1][:])


def test_every_round_labels_anew_and_nothing_is_left_at_the_end(start, monkeypatch):
    labelled = []
    make = SERTrainerSemiNoSAM.make_pseudo_labels
    monkeypatch.setattr(
        SERTrainerSemiNoSAM, "make_pseudo_labels", lambda self, epoch: labelled.append(epoch) or make(self, epoch)
    )
    trainer = start(SERTrainerSemiNoSAM, labelled=1, num_epochs=4, rounds=(0.25, 0.75))
    trainer.run_training()
    assert labelled == [1, 3]
    assert not trainer.pseudo_label_folder.exists() and not trainer.initial_weights.exists()
    log = Path(trainer.log_file).read_text()
    assert "by the network of epoch 0, whose pseudo Dice was 0." in log and "by the network of epoch 2" in log


def stop_after(start, epoch, **settings):
    """Train until the end of an epoch, save it, and return a new trainer that has loaded it."""
    trainer = start(SERTrainerSemiNoSAM, labelled=2, num_epochs=4, **settings)
    trainer.on_train_start()
    for _ in range(epoch + 1):
        trainer.on_train_epoch_start()
        trainer.train_step(next(trainer.dataloader_train))
        for key in ("mean_fg_dice", "ema_fg_dice"):
            trainer.logger.log(key, 0.5, trainer.current_epoch)
        checkpoint = str(Path(trainer.output_folder) / "checkpoint_latest.pth")
        trainer.save_checkpoint(checkpoint)
        trainer.current_epoch += 1
    trainer.release_folder()
    resumed = start(SERTrainerSemiNoSAM, labelled=2, num_epochs=4, **settings)
    resumed.initialize()
    resumed.load_checkpoint(checkpoint)
    return trainer, resumed


def test_a_training_resumed_after_the_round_keeps_its_pseudo_labels(start, monkeypatch):
    """Not those of the student, which is worse than its teacher at first; the teacher completes what is missing."""
    stopped, resumed = stop_after(start, 2)
    case, other = stopped.unlabelled_cases
    kept = {name: np.array(stopped.pseudo_labels(2).load(name)[0][:]) for name in (case, other)}
    (stopped.pseudo_labels(2).folder / f"{case}.pkl").unlink()
    asked = []
    label = SERTrainerSemiNoSAM.label_case
    monkeypatch.setattr(
        SERTrainerSemiNoSAM, "label_case", lambda self, name, image: asked.append(name) or label(self, name, image)
    )
    resumed.on_train_start()
    resumed.on_train_epoch_start()
    assert asked == [case]
    assert all(np.array_equal(resumed.pseudo_labels(2).load(name)[0][:], kept[name]) for name in kept)
    assert {key for _ in range(20) for key in next(resumed.dataloader_train)["keys"]} == {*CASES[:4]}
    assert resumed.optimizer.state, "the student goes on"


def test_a_training_resumed_before_the_round_starts_its_student_from_the_first_weights(start):
    stopped, resumed = stop_after(start, 1)
    resumed.on_train_start()
    drawn = {key for _ in range(20) for key in next(resumed.dataloader_train)["keys"]}
    assert drawn == {*CASES[:4]} - {*resumed.unlabelled_cases}
    resumed.on_train_epoch_start()
    assert equal(resumed.bare_network.state_dict(), stopped._initial_weights)
    assert equal(resumed.pseudo_labels(2).load_teacher(), stopped.bare_network.state_dict())


def test_a_training_killed_in_its_second_round_keeps_the_labels_of_that_round(start, monkeypatch):
    """Its last checkpoint, of the round's first epoch at the latest, may be that of the first round still."""
    stopped, resumed = stop_after(start, 2, rounds=(0.25, 0.75))
    stopped.current_epoch = 3
    stopped.on_train_epoch_start()
    monkeypatch.setattr(SERTrainerSemiNoSAM, "label_case", lambda *_: pytest.fail("the labels were there"))
    resumed.on_train_start()
    resumed.on_train_epoch_start()
    assert resumed.labelled_epoch == 3 and equal(resumed.bare_network.state_dict(), stopped._initial_weights)


def test_a_student_is_saved_after_its_first_epoch(start):
    """Otherwise its teacher would label again after an interruption."""
    trainer = start(SERTrainerSemiNoSAM, labelled=2, num_epochs=6, save_every=50)
    saved, save = [], trainer.save_checkpoint
    trainer.save_checkpoint = lambda file: saved.append((Path(file).stem, trainer.current_epoch)) or save(file)
    trainer.run_training()
    assert ("checkpoint_latest", 3) in saved and trainer.save_every == 50


@pytest.mark.parametrize(("setting", "value", "due"), [("rounds", (0.25,), 1), ("num_epochs", 8, "none")])
def test_other_rounds_than_those_that_the_training_had_are_refused(start, setting, value, due):
    """The student had begun before the third of four epochs."""
    _, resumed = stop_after(start, 2)
    setattr(resumed, setting, value)
    with pytest.raises(UserError, match=rf"should have been at {due}, and is kept of 2\. A training can't be resumed"):
        resumed.on_train_start()


def test_bfloat16_of_the_benchmark_keeps_the_teacher(start):
    trainer = start(SERTrainerSemiNoSAM, labelled=2, num_epochs=4)
    trainer.initialize()
    use_bfloat16(trainer)
    begin(trainer, 2)
    assert len(list(trainer.pseudo_labels(2).folder.glob("*.pkl"))) == 2
    assert np.isfinite(trainer.train_step(next(trainer.dataloader_train))["loss"])


def test_a_fold_without_anything_to_label_is_refused(start):
    with pytest.raises(
        UserError, match=r"none of 4 training cases has voxels with the label 'ignore'.*SERTrainerNoSAM"
    ):
        start(SERTrainerSemiNoSAM, labelled=4).on_train_start()


@pytest.mark.parametrize(
    ("epoch", "file", "message"),
    [
        (1, "initial_weights.pth", "is missing: the weights that the training began with"),
        (2, "pseudo_labels/epoch_2/teacher.pth", "epoch 3 should have been at 2, and is kept of none"),
    ],
)
def test_resuming_without_the_files_of_the_training_is_refused(start, epoch, file, message):
    stopped, resumed = stop_after(start, epoch)
    (Path(stopped.output_folder) / file).unlink()
    with pytest.raises(UserError, match=message):
        resumed.on_train_start()


@pytest.mark.parametrize("trainer_class", [SERTrainerSemiNoSAM, SERTrainerSemi])
def test_a_finished_training_is_resumed_for_its_validation_without_pseudo_labels(start, trainer_class):
    trainer = start(trainer_class, labelled=2, num_epochs=4)
    trainer.current_epoch = 4
    trainer.run_training()
    assert not trainer.pseudo_label_folder.exists()


def test_rounds_without_sam_are_refused(start):
    with pytest.raises(ValueError, match=r"rounds must lie before the end of SAM \(guided_fraction, 0\.5\)"):
        start(SERTrainerSemi, labelled=2, guided_fraction=0.5).initialize()


def test_labels_of_an_earlier_training_are_not_used(start):
    trainer = start(SERTrainerSemiNoSAM, labelled=1, num_epochs=4)
    case = trainer.unlabelled_cases[0]
    stale = np.ones((1, 3, 32, 32))
    trainer.pseudo_labels(2).save(case, stale, trainer.label_manager)
    begin(trainer, 0)
    assert (trainer.dataloader_train.data_loader._data.load_case(case)[1][:] == 2).all()
    trainer.current_epoch = 2
    trainer.on_train_epoch_start()
    assert not np.array_equal(trainer.pseudo_labels(2).load(case)[0][:], stale)


def test_fold_all_learns_from_cases_without_annotation_and_does_not_validate_them(start, monkeypatch):
    trainer = start(SERTrainerSemiNoSAM, labelled=1)
    monkeypatch.setattr(trainer, "fold", "all")
    training, validation = trainer.do_split()
    assert set(training) == {*CASES} and set(validation) == {*CASES} - {*trainer.unlabelled_cases}


def test_sam_must_agree(start, monkeypatch):
    """The teacher finds the class in the upper half, SAM in the left half."""
    trainer = start(SERTrainerSemi, labelled=1, num_epochs=10)
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
    begin(trainer, 0)
    trainer.current_epoch = 5
    trainer.on_train_epoch_start()
    labels = trainer.pseudo_labels(5).load(trainer.unlabelled_cases[0])[0][0]
    quarters = [
        np.unique(labels[:, rows, columns]).tolist()
        for rows in (slice(0, 16), slice(16, 32))
        for columns in (slice(0, 16), slice(16, 32))
    ]
    assert quarters == [[1], [2], [2], [0]]
    assert len(asked) == 3 * 3 and asked[0][0] == (256, 4, 4), "the kept embeddings of three cases' slices"
    torch.testing.assert_close(asked[0][1], logits[1:, 0] - logits[:1, 0])  # a class against the rest


@pytest.mark.parametrize("trainer_class", [SERTrainerSemiNoSAM, SERTrainerSemi])
def test_the_checkpoint_is_that_of_the_network_alone(start, trainer_class):
    trainer = start(trainer_class, labelled=1, rounds=(0.5,))
    trainer.run_training()
    saved = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=True)
    assert saved["network_weights"].keys() == trainer.bare_network.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [("labelled_share", 1.5), ("confidence", 0.2), ("rounds", (0.0, 0.5)), ("rounds", ()), ("num_epochs", 1)],
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
    ("labelled", "unlabelled", "share"), [(5, 100, 0.5), (5, 100, 0.2), (3, 7, 0.5), (10, 10, 0.8)]
)
def test_a_share_of_the_draws_has_annotation_however_few_cases_there_are(labelled, unlabelled, share):
    with_labels, without = [f"l{n}" for n in range(labelled)], [f"u{n}" for n in range(unlabelled)]
    repeated = repeat_cases(with_labels, without, share)
    assert sum(case[0] == "l" for case in repeated) / len(repeated) == pytest.approx(share, abs=0.04)
    assert set(repeated) == {*with_labels, *without}


def test_few_cases_without_annotation_are_not_repeated():
    assert repeat_cases(["a", "b", "c"], ["d"], 0.2) == ["a", "b", "c", "d"]


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
