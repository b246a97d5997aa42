"""Simulated lesions lie where MS lesions lie and are visible on FLAIR; bright spots that are not lesions exist too."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

pytest.importorskip("nilearn")

from ser_nnunet.demo.anatomy import WHITE, block_mean
from ser_nnunet.demo.patient import simulate_scans


@pytest.fixture(scope="module")
def scans():
    return simulate_scans(np.random.default_rng(1), visits=3, spacing=3.0)


def test_lesions_lie_in_white_matter_and_are_bright_on_flair(scans):
    for scan in scans:
        mask = scan.mask > 0
        white = block_mean(scan.brain.tissue == WHITE)
        assert mask.sum() > 20
        assert white[mask].mean() > 0.8
        flair = scan.images["FLAIR"]
        assert np.median(flair[mask]) > 1.15 * np.median(flair[(white > 0.95) & ~mask])


def test_most_lesions_are_near_the_ventricles(scans):
    distance = block_mean(scans[0].brain.ventricle_distance)
    white = block_mean(scans[0].brain.tissue == WHITE) > 0.9
    assert np.median(distance[scans[0].mask > 0]) < np.median(distance[white]) / 2


def test_bright_spots_that_are_not_lesions_exist_and_are_not_labelled(scans):
    for scan in scans:
        spots = scan.distractors > 0.4
        assert spots.sum() > 20
        assert not (spots & (scan.mask > 0)).any()


def test_lesions_persist_and_grow_in_number_or_size(scans):
    first, last = scans[0].mask > 0, scans[-1].mask > 0
    assert (first & last).sum() > 0.7 * first.sum()
    assert last.sum() > first.sum()


def test_edges_of_lesions_are_partial_volume(scans):
    mask = scans[0].mask > 0
    core = binary_erosion(mask)
    flair = scans[0].images["FLAIR"]
    assert np.median(flair[mask & ~core]) < 0.95 * np.median(flair[core])
