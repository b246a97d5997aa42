"""The style of figures, whatever has been drawn in this process before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import matplotlib as mpl


@contextmanager
def own_style(settings: Mapping[str, Any]) -> Iterator[None]:
    """Draw with matplotlib's defaults and these settings; afterwards those of before apply again.

    nnU-Net's progress.png leaves seaborn's settings behind, with letters 2.5 times as large.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(cast(Any, settings))
        yield
