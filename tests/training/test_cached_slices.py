"""Slices whose SAM embeddings are kept on disk, and the trainers that they guide, with nnU-Net's own loaders."""

import json

import numpy as np
import pytest
import torch

from ser_nnunet.benchmark.dataset_view import PlannedDataset
from ser_nnunet.benchmark.unlabelled_view import make_unlabelled_view
from ser_nnunet.nnunet.annotated_cases import find_unannotated
from ser_nnunet.nnunet.log import epoch_log
from ser_nnunet.sam.checkpoint import load_sam
from ser_nnunet.sam.embedding_store import EmbeddingStore, embed_slices, find_store
from ser_nnunet.sam.guide import SAMGuide
from ser_nnunet.training.cached_slices import choose_positions, cut
from ser_nnunet.training.cached_trainer import SERTrainerCached, SERTrainerSemi
from ser_nnunet.training.semi_trainer import SERTrainerSemiNoSAM
from tests.benchmark.conftest import preprocess_tiny
from tests.benchmark.tiny_dataset import CASES, DATASET_JSON, NAME, tiny_plans

SHORT = {"num_epochs": 2, "num_iterations_per_epoch": 2, "num_val_iterations_per_epoch": 1}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The tiny data set, preprocessed: a bright square in three slices of 32 x 32 pixels."""
    return preprocess_tiny(tmp_path_factory.mktemp("preprocessed"))


@pytest.fixture
def start(tiny, tmp_path, monkeypatch, sam_checkpoint):
    """Return a trainer of fold 0 that writes below tmp_path; with `labelled`, only so many cases have labels."""

    def build(trainer_class, labelled=None, **settings):
        root, plans = tiny, tiny_plans() | {"continue_training": False}
        described = DATASET_JSON
        if labelled:
            dataset = PlannedDataset(tiny / NAME, "nnUNetPlans", "2d", (0,), train_cases=labelled)
            root = make_unlabelled_view(dataset, tmp_path / "views", seed=0, fold=0)
            described = json.loads((root / NAME / "dataset.json").read_text())
        for name, folder in (("nnUNet_preprocessed", root), ("nnUNet_results", tmp_path / "results")):
            monkeypatch.setenv(name, str(folder))
        monkeypatch.setenv("nnUNet_n_proc_DA", "0")
        torch.manual_seed(0)
        changed = type(trainer_class.__name__, (trainer_class,), SHORT | settings)
        return changed(plans, "2d", 0, described, torch.device("cpu"))

    return build


def test_slices_are_chosen_for_their_foreground_and_spread_evenly():
    assert choose_positions(10, [], 3) == [1, 5, 8]
    chosen = choose_positions(100, range(40, 60), 20)
    assert sum(40 <= position < 60 for position in chosen) == 17 and len(chosen) == 20
    assert choose_positions(5, [2], 99) == [0, 1, 2, 3, 4]


def test_a_part_is_padded_as_nnunet_pads():
    image = torch.arange(12.0).reshape(1, 3, 4)
    assert cut(image, (1, 2), (2, 3)).tolist() == [[[6.0, 7.0, 0.0], [10.0, 11.0, 0.0]]]


def test_embeddings_come_back_and_those_of_another_image_do_not(sam_file, tmp_path):
    guide, volume = SAMGuide(load_sam(sam_file)), np.random.default_rng(0).normal(size=(1, 4, 20, 30))
    image = tmp_path / "case.b2nd"
    image.write_bytes(b"image")
    store = EmbeddingStore(tmp_path / "kept")
    assert store.slices("case", image) == []
    embeddings = embed_slices(guide, volume, [1, 3], (0,), (), torch.device("cpu"))
    store.save("case", [1, 3], embeddings, image)
    assert store.slices("case", image) == [1, 3]
    expected = guide.encode(torch.tensor(volume[:, 3], dtype=torch.float32)[None])[0]
    torch.testing.assert_close(store.load("case", 1).float(), expected, atol=2e-3, rtol=2e-3)
    image.write_bytes(b"another image")
    assert store.slices("case", image) == []


def test_every_sam_size_and_choice_of_channels_has_a_folder_of_its_own(sam_file, tmp_path):
    given = [((0,), 64, ()), ((0, 1, 2), 64, ()), ((0,), 128, ()), ((0,), 64, (0,))]
    folders = {
        find_store(tmp_path / "2d", sam_file, size, *rest).folder
        for channels, size, masked in given
        for rest in [(channels, masked)]
    }
    assert len(folders) == 4 and {folder.parent for folder in folders} == {tmp_path / "2d_sam"}


def test_sam_encodes_every_slice_once_and_takes_no_part_in_steps(start, monkeypatch):
    encoded = []
    encode = SAMGuide.encode
    monkeypatch.setattr(
        SAMGuide, "encode", lambda self, image, *rest: encoded.append(image) or encode(self, image, *rest)
    )
    start(SERTrainerCached).run_training()
    assert len(encoded) == 4 * 3, "four training cases of three slices"
    trainer = start(SERTrainerCached)
    trainer.num_epochs = 3
    trainer.run_training()
    assert len(encoded) == 4 * 3, "kept from the first training"
    log = epoch_log(trainer)
    assert np.isfinite(log["train_losses_seg"]).all() and np.isfinite(log["guided_dice"]).all()


def test_the_prompt_learner_learns_from_sams_masks_of_the_added_slices(start):
    trainer = start(SERTrainerCached)
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    trainer.loss = lambda logits, target: logits.sum() * 0  # L_dist without gradients
    trainer.train_step(next(trainer.dataloader_train))
    gradients = [parameter.grad for parameter in trainer.ser_net.prompt_learner.parameters()]
    assert sum(gradient is not None and bool(gradient.any()) for gradient in gradients) > len(gradients) / 2


@pytest.mark.parametrize("by", ["agreement", "SAM", "teacher"])
def test_cases_without_labels_are_trained_on_and_their_labels_never_read(start, by):
    trainer = start(SERTrainerSemi, labelled=1, pseudo_labels_by=by, warm_up=0.5)
    trainer.run_training()
    assert len(trainer.unlabelled_cases) == 3
    assert np.isfinite(epoch_log(trainer)["train_losses_pseudo"]).all()


def test_agreement_keeps_what_sam_and_the_mean_teacher_both_say(start):
    trainer = start(SERTrainerSemi, labelled=1, confidence=0.5, warm_up=0.0)
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    guidance = trainer.guidance
    batch = next(trainer.dataloader_train)
    patches = guidance.add_patches(batch["data"])[len(batch["data"]) :]
    teacher = torch.zeros(len(patches), 2, 32, 32)
    teacher[:, 1, :16] = 4  # the class in the upper half, background below
    teacher[:, 0, 16:] = 4
    guidance.mean_teacher = lambda data: teacher
    masks = torch.full((len(patches), 1, 32, 32), -4.0)
    masks[..., :16] = 4  # SAM says: in the left half
    labels = guidance.label_parts(patches, masks)
    unlabelled = [part.target.eq(2).all().item() for part in guidance.drawn]
    assert sum(unlabelled) == 2, "parts of cases with and without labels in turn"
    for index, each in enumerate(unlabelled):
        quarters = [
            labels[index, 0, rows, columns].unique().tolist()
            for rows in (slice(0, 16), slice(16, 32))
            for columns in (slice(0, 16), slice(16, 32))
        ]
        assert quarters == ([[1], [2], [2], [0]] if each else [[2]] * 4)


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


@pytest.mark.parametrize("trainer_class", [SERTrainerCached, SERTrainerSemi])
def test_3d_is_refused_with_the_trainers_that_can(make_trainer, trainer_class):
    with pytest.raises(NotImplementedError, match=r"3d_fullres trains on 3D patches.*SERTrainerJoint"):
        make_trainer(trainer_class, "ignore", configuration="3d_fullres", patch=(16, 32, 32))
