"""Surface distances against three references: masks made by hand, SimpleITK's filters, DeepMind's surface-distance."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

from ser_nnunet.evaluation.surface import measure_surfaces
from tests.evaluation.cohort import random_blobs

SPACINGS = [(1.0, 1.0, 1.0), (3.0, 0.9, 0.6)]


def test_distances_of_a_shifted_cube_by_hand():
    reference, prediction = np.zeros((2, 12, 12, 12), bool)
    reference[4:7, 4:7, 4:7] = True
    prediction[4:7, 4:7, 6:9] = True  # two voxels along x, 0.5 mm each
    found = measure_surfaces(reference, prediction, (2.0, 1.0, 0.5), 1.01, 99.0)
    assert found["HD_mm"] == found["HD95_mm"] == 1.0
    # 26 edge voxels each: the nine in the face that moved away are two voxels off, the eight behind it one, and the
    # nine of the shared face lie in the other's edge.
    assert found["ASSD_mm"] == pytest.approx((9 * 1.0 + 8 * 0.5) / 26)
    assert found["NSD"] == 1.0


def test_nsd_of_a_shifted_slab_is_the_share_of_its_area():
    reference, prediction = np.zeros((2, 16, 42, 42), bool)
    reference[2:14, 1:41, 1:41] = True
    prediction[6:14, 1:41, 1:41] = True  # four slices of 2.5 mm are missing on one face
    found = measure_surfaces(reference, prediction, (2.5, 1.0, 1.0), 0.4, 99.0)
    assert found["HD_mm"] == 10.0
    # The faces on that side are 40 x 40 mm each and too far off, and so are the four missing slices' sides.
    face, sides_of_a_slice = 40 * 40, 4 * 40 * 2.5
    too_far = 2 * face + 4 * sides_of_a_slice
    whole = 4 * face + (12 + 8) * sides_of_a_slice
    assert found["NSD"] == pytest.approx(1 - too_far / whole, abs=0.03)  # corners are bevelled


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_simpleitk_agrees(seed, spacing):
    reference, prediction = random_blobs(seed), random_blobs(seed + 50)
    found = measure_surfaces(reference, prediction, spacing, 1.0, 99.0)
    edges = [_itk_edge(mask, spacing) for mask in (reference, prediction)]
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(*edges)
    assert found["HD_mm"] == pytest.approx(hausdorff.GetHausdorffDistance(), rel=1e-5)
    directed = [_itk_distances(edges[0], edges[1]), _itk_distances(edges[1], edges[0])]
    assert found["HD95_mm"] == pytest.approx(max(np.quantile(each, 0.95) for each in directed), rel=1e-5)
    assert found["ASSD_mm"] == pytest.approx(np.concatenate(directed).mean(), rel=1e-5)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("tolerance", [0.5, 1.0, 2.5])
def test_deepminds_surface_distance_agrees_on_nsd(spacing, tolerance):
    surface_distance = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    reference, prediction = random_blobs(3), random_blobs(53)
    theirs = surface_distance.compute_surface_distances(reference, prediction, spacing)
    expected = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance)
    assert measure_surfaces(reference, prediction, spacing, tolerance, 99.0)["NSD"] == pytest.approx(expected, abs=1e-5)


def test_deepminds_surface_distance_agrees_on_nsd_in_two_dimensions():
    surface_distance = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    reference, prediction = random_blobs(1, (30, 40)), random_blobs(2, (30, 40))
    theirs = surface_distance.compute_surface_distances(reference, prediction, (1.5, 0.7))
    expected = surface_distance.compute_surface_dice_at_tolerance(theirs, 1.0)
    assert measure_surfaces(reference, prediction, (1.5, 0.7), 1.0, 99.0)["NSD"] == pytest.approx(expected, abs=1e-5)


def test_distances_are_those_of_monais_own_functions():
    reference, prediction, spacing = random_blobs(7), random_blobs(57), (2.0, 1.0, 0.5)
    found = measure_surfaces(reference, prediction, spacing, 1.0, 99.0)
    pair = [torch.from_numpy(mask)[None, None] for mask in (prediction, reference)]
    options = {"include_background": True, "spacing": spacing}
    assert found["HD_mm"] == pytest.approx(float(compute_hausdorff_distance(*pair, **options)))
    assert found["HD95_mm"] == pytest.approx(float(compute_hausdorff_distance(*pair, percentile=95, **options)))
    average = compute_average_surface_distance(*pair, symmetric=True, **options)
    assert found["ASSD_mm"] == pytest.approx(float(average))


def test_a_mask_at_the_images_border_has_a_surface_there():
    # Evaluated masks are cropped to their box: this must not change what their surface is.
    reference, prediction = np.zeros((2, 10, 10, 10), bool)
    reference[2:8, 2:8, 2:8] = prediction[2:8, 2:8, 2:6] = True
    box = (slice(2, 8),) * 3
    whole = measure_surfaces(reference, prediction, (1.0, 1.0, 1.0), 1.0, 99.0)
    assert measure_surfaces(reference[box], prediction[box], (1.0, 1.0, 1.0), 1.0, 99.0) == whole


def _itk_edge(mask, spacing):
    image = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
    image.SetSpacing(spacing[::-1])
    return sitk.BinaryContour(image, fullyConnected=False)


def _itk_distances(source, target):
    distance = sitk.SignedMaurerDistanceMap(target, squaredDistance=False, useImageSpacing=True)
    return np.abs(sitk.GetArrayFromImage(distance)[sitk.GetArrayFromImage(source) > 0])
