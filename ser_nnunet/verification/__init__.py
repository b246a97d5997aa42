"""Verification of data sets in nnU-Net's raw format: `verify` runs the converters' checks on them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ser_nnunet.verification.verification_result import Verification
    from ser_nnunet.verification.verifier import verify

__all__ = ["Verification", "verify"]

_MODULES = {"verify": "verifier", "Verification": "verification_result"}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the command line's help doesn't need torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
