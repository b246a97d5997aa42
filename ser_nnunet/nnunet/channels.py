"""The names of a data set's channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def list_channels(dataset_json: Mapping[str, Any]) -> list[str]:
    """Return the channels' names in nnU-Net's order; empty where none are named.

    Args:
        dataset_json: its content; nnU-Net reads `channel_names`, and `modality`, as version 1 called it.
    """
    names = dataset_json.get("channel_names") or dataset_json.get("modality") or {}
    return [str(names[number]) for number in sorted(names, key=int)]
