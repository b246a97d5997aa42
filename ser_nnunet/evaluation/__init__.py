"""Metrics, statistics and the report: `evaluate` compares folders, `write_report` shows what came out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ser_nnunet.evaluation.evaluator import evaluate
    from ser_nnunet.evaluation.report.case_figures import draw_cases
    from ser_nnunet.evaluation.result import Evaluation
    from ser_nnunet.evaluation.settings import Settings

__all__ = ["Evaluation", "Settings", "draw_cases", "evaluate"]

_HOMES = {"evaluate": "evaluator", "Evaluation": "result", "Settings": "settings", "draw_cases": "report.case_figures"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: the command line's help must not wait for pandas and torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
