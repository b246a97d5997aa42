"""The report of an evaluation: `write_report` writes one HTML page, `draw_cases` a figure of cases."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ser_nnunet.evaluation.report.case_figures import draw_cases
    from ser_nnunet.evaluation.report.page import write_report

__all__ = ["draw_cases", "write_report"]

_MODULES = {"draw_cases": "case_figures", "write_report": "page"}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: `draw_cases` doesn't need jinja2, nor `--help` matplotlib."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
