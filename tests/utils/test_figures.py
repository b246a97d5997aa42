"""Figures look the same whatever has been drawn in the process before."""

import matplotlib as mpl

from ser_nnunet.utils.figures import own_style


def test_settings_that_others_left_behind_do_not_reach_our_figures():
    with mpl.rc_context({"font.size": 40, "axes.grid": False}):
        with own_style({"axes.grid": True}):
            assert (mpl.rcParams["font.size"], mpl.rcParams["axes.grid"]) == (10, True)
        assert (mpl.rcParams["font.size"], mpl.rcParams["axes.grid"]) == (40, False)
