"""Slices whose SAM embeddings are kept on disk, and the trainers that they guide, with nnU-Net's own loaders."""

import numpy as np
import pytest
import torch

from ser_nnunet.nnunet.log import epoch_log
from ser_nnunet.sam.checkpoint import load_sam
from ser_nnunet.sam.embedding_store import EmbeddingStore, embed_slices, find_store
from ser_nnunet.sam.guide import SAMGuide
from ser_nnunet.training.cached_slices import choose_positions, cut
from ser_nnunet.training.cached_trainer import SERTrainerCached, SERTrainerSemi


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


def test_every_sam_size_choice_of_channels_and_number_of_slices_has_a_folder_of_its_own(sam_file, tmp_path):
    given = [(64, (0,), (), 9), (64, (0, 1, 2), (), 9), (128, (0,), (), 9), (64, (0,), (0,), 9), (64, (0,), (), 8)]
    folders = {find_store(tmp_path / "2d", sam_file, *each).folder for each in given}
    assert len(folders) == 5 and {folder.parent for folder in folders} == {tmp_path / "2d_sam"}


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


def test_parts_come_from_annotated_cases_alone(start):
    trainer = start(SERTrainerSemi, labelled=1)
    trainer.on_train_start()
    cached = trainer.guidance.cached
    assert {case.case for case in cached.kept} - {case.case for case in cached.annotated} == {
        *trainer.list_unlabelled()
    }
    trainer.guidance.add_patches(torch.zeros(1, 1, 32, 32))
    assert not any((part.target == 2).any() for part in trainer.guidance.drawn)


@pytest.mark.parametrize("trainer_class", [SERTrainerCached, SERTrainerSemi])
def test_3d_is_refused_with_the_trainers_that_can(make_trainer, trainer_class):
    with pytest.raises(NotImplementedError, match=r"3d_fullres trains on 3D patches.*\(SERTrainer\)"):
        make_trainer(trainer_class, "ignore", configuration="3d_fullres", patch=(16, 32, 32))
