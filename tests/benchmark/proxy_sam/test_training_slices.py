"""Slices are prepared as guidance prepares them."""

import numpy as np
import torch

from ser_nnunet.benchmark.proxy_sam.training_slices import SliceSource, draw_batch
from tests.benchmark.proxy_sam.images import DiscSource, disc_source
from tests.benchmark.tiny_dataset import CASES, NAME


def test_images_are_padded_as_sam_pads_them(small_sam):
    """As in guidance: `Sam.preprocess` pads with zeros after its normalisation."""
    batch = draw_batch([disc_source()], 2, 3, 64, np.random.default_rng(0))
    assert batch.images.shape == (2, 3, 64, 64) and batch.masks.shape == (2, 3, 64, 64)
    assert torch.equal(batch.inside, torch.arange(64).expand(2, 64, 64) < 48)
    assert not (batch.masks & ~batch.inside[:, None]).any() and batch.masks.flatten(2).any(2).all()
    shown = small_sam.preprocess(batch.images[..., :48])
    assert torch.allclose(small_sam.preprocess(batch.images), shown, atol=1e-5)


def test_regions_survive_where_images_shrink():
    class Large(DiscSource):
        def draw_slice(self, rng):
            return np.kron(super().draw_slice(rng)[0], np.ones((8, 8))), None

    batch = draw_batch([Large(None, (), (256, 192))], 3, 4, 64, np.random.default_rng(0))
    assert batch.masks.flatten(2).any(2).all()


def test_slices_come_from_the_named_cases_as_images_between_0_and_1(preprocessed):
    source = SliceSource(preprocessed / NAME / "nnUNetPlans_2d", tuple(CASES[:2]), (32, 32))
    rng = np.random.default_rng(0)
    for _ in range(5):
        image, labels = source.draw_slice(rng)
        assert labels is None  # never read, unless the case is named
        assert image.ndim == 2 and min(image.shape) >= 18 and max(image.shape) <= 32
        assert image.min() >= 0 and image.max() <= 1 and image.std() > 0


def test_classes_of_the_named_cases_are_regions_in_the_image_s_place(preprocessed):
    """The tiny data set's class is the bright disc of its images, so that its mask lies where the image is bright."""
    folder, cases = preprocessed / NAME / "nnUNetPlans_2d", tuple(CASES[:2])
    source = SliceSource(folder, cases, (32, 32), labelled=frozenset(cases))
    rng = np.random.default_rng(0)
    found = [source.draw_slice(rng) for _ in range(12)]
    contrasts = [abs(image[labels > 0].mean() - image[labels == 0].mean()) for image, labels in found if labels.any()]
    assert min(contrasts) > 0.2
    batch = draw_batch([source], 8, 2, 64, np.random.default_rng(0))
    assert batch.masks.flatten(2).any(2).all()
