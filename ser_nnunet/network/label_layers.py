"""Layers whose size depends on the labels, under names that nnU-Net leaves out of `-pretrained_weights`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class LabelDependent(nn.Module):
    """A layer whose size follows from the number of classes or prompts.

    nnU-Net's `load_pretrained_weights` leaves out the tensors whose names contain `.seg_layers.`, as those of its own
    networks' last layers do, and demands that all others exist with the same shape. Therefore the layer has that name
    here. Checkpoints from before, where the layer had none, are loaded as they are.

    Args:
        layer: the layer.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.seg_layers = layer

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the layer's output."""
        output: torch.Tensor = self.seg_layers(features)
        return output

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Give the tensors of checkpoints from before their present names."""
        name = f"{prefix}seg_layers."
        for old in [key for key in state_dict if key.startswith(prefix) and not key.startswith(name)]:
            state_dict[name + old.removeprefix(prefix)] = state_dict.pop(old)
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def label_dependent_tensors(network: nn.Module) -> list[str]:
    """Return the names of the parameters and buffers whose sizes depend on the labels."""
    return [name for name in network.state_dict() if ".seg_layers." in name]
