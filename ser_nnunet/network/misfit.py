"""Why weights don't fit a network, in one sentence instead of torch's list of all its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ser_nnunet import __version__

LAYOUT_0_1 = "aggregator.upsample.weight"
"""A tensor that only 0.1.0's network `light` has."""


def describe_misfit(network: Mapping[str, Any], weights: Mapping[str, Any]) -> str:
    """Return which tensors differ, how many, and what to do; an empty text if none does.

    Args:
        network: the network's state dict.
        weights: those that were to be loaded; earlier names of the label-dependent layers count as the same.
    """
    own, given = (
        {name.replace(".seg_layers.", "."): tensor for name, tensor in each.items()} for each in (network, weights)
    )
    shapes = {name: (tuple(own[name].shape), tuple(given[name].shape)) for name in own if name in given}
    kinds = {
        "missing": [name for name in own if name not in given],
        "unknown": [name for name in given if name not in own],
        "of another shape": [
            f"{name}, {found} instead of {expected}" for name, (expected, found) in shapes.items() if found != expected
        ],
    }
    found = "; ".join(f"{len(names)} {kind} ({names[0]}, ...)" for kind, names in kinds.items() if names)
    if not found:
        return ""
    if LAYOUT_0_1 in given and LAYOUT_0_1 not in own:
        remedy = "they are of the network `light` of ser-nnunet 0.1.0: pip install ser-nnunet==0.1.0, or train again"
    else:
        remedy = "is the plans.json beside the checkpoint the one of its training, and of the same version?"
    return f"these weights don't fit SERNet of ser-nnunet {__version__}: of {len(own)} tensors {found}; {remedy}"
