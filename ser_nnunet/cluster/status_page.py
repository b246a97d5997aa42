"""The state of a cross-validation as one self-contained HTML page, with the learning curves of all trainings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ser_nnunet.cluster.crossval_settings import CrossvalSettings
from ser_nnunet.cluster.crossval_states import TaskState
from ser_nnunet.cluster.learning_curves import draw_learning_curves
from ser_nnunet.cluster.status_table import attention, describe, follow_ups_of, format_duration, table_of
from ser_nnunet.utils.files import write_text
from ser_nnunet.utils.printable import printable


def write_status_page(
    settings: CrossvalSettings, states: Sequence[TaskState], file: Path, refresh_seconds: float | None = None
) -> Path:
    """Write the page.

    Args:
        settings: of the cross-validation.
        states: of all tasks.
        file: of the page.
        refresh_seconds: after which a browser loads it again; None for never.
    """
    folder = files("ser_nnunet.cluster")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"describe": describe, "printable": printable, "duration": format_duration}
    template = environment.from_string((folder / "status.html.j2").read_text(encoding="utf-8"))
    folds, models = table_of(states)
    counts: dict[str, int] = {}
    for state in states:
        counts[state.state] = counts.get(state.state, 0) + 1
    page = template.render(
        dataset=settings.dataset,
        now=time.strftime("%Y-%m-%d %H:%M:%S"),
        refresh=refresh_seconds,
        css=Markup((folder / "status.css").read_text(encoding="utf-8")),
        counts=counts,
        total=len(states),
        folds=folds,
        models=models,
        curves=[(model, Markup(draw_learning_curves(model, row))) for model, row in models],
        follow_ups=follow_ups_of(states),
        failed=attention(states),
    )
    return write_text(file, page)
