"""The image file of cases."""

import numpy as np
import pytest
from matplotlib.image import imread

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.report import draw_cases


@pytest.mark.parametrize(
    ("palette", "reference", "prediction"),
    [("red-blue", (255, 59, 48), (61, 155, 255)), ("colour-blind", (230, 159, 0), (86, 180, 233))],
)
def test_the_figure_shows_reference_and_prediction_in_their_colours(shifted, tmp_path, palette, reference, prediction):
    file = draw_cases(shifted, tmp_path / "new" / "cases.png", cases=["case3"], palette=palette)
    pixels = (imread(file)[..., :3] * 255).reshape(-1, 3)
    for colour in (reference, prediction):
        assert (np.abs(pixels - colour).max(axis=1) < 12).sum() > 100


def test_several_classes_have_a_colour_each(evaluation, tmp_path):
    file = draw_cases(evaluation, tmp_path / "cases.png", cases=["case_3"])
    pixels = (imread(file)[..., :3] * 255).reshape(-1, 3)
    for colour in ((230, 159, 0), (86, 180, 233)):
        assert (np.abs(pixels - colour).max(axis=1) < 12).sum() > 100
    assert (np.abs(pixels - (255, 59, 48)).max(axis=1) < 12).sum() == 0


def test_unknown_cases_and_palettes_are_refused(shifted, tmp_path):
    with pytest.raises(UserError, match="nobody is not an evaluated case"):
        draw_cases(shifted, tmp_path / "cases.png", cases=["nobody"])
    with pytest.raises(UserError, match="no palette"):
        draw_cases(shifted, tmp_path / "cases.png", palette="mauve")
