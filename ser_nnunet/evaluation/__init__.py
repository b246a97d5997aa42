"""Metrics and statistics: `evaluate` compares folders of segmentations; the subpackage `report` presents them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ser_nnunet.evaluation.evaluator import evaluate
    from ser_nnunet.evaluation.result import Evaluation
    from ser_nnunet.evaluation.settings import Settings

__all__ = ["Evaluation", "Settings", "evaluate"]

_MODULES = {"evaluate": "evaluator", "Evaluation": "result", "Settings": "settings"}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the command line's help doesn't need pandas and torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
