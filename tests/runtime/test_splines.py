"""Matrices of B-splines hold scipy's weights, which nnU-Net's resampling uses."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates, zoom

from ser_nnunet.runtime.splines import spline_matrix


@pytest.mark.parametrize("order", range(6))
@pytest.mark.parametrize(("old", "new"), [(1, 4), (4, 2), (5, 9), (20, 7), (41, 64), (64, 41), (30, 30)])
def test_weights_are_scipys(order, old, new):
    expected = zoom(np.eye(old), (new / old, 1), order=order, mode="nearest", grid_mode=True)
    matrix = spline_matrix(old, new, order)
    assert matrix.shape == (new, old) and np.abs(matrix - expected).max() < 1e-7
    places = old / new * (np.arange(new) + 0.5) - 0.5
    along = [map_coordinates(unit, [places], order=order, mode="nearest") for unit in np.eye(old)]
    assert np.abs(matrix - np.stack(along, axis=1)).max() < 1e-7


def test_weights_that_can_be_computed_by_hand():
    assert spline_matrix(2, 4, 1).tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    assert spline_matrix(2, 3, 0).tolist() == [[1, 0], [0, 1], [0, 1]]
