"""Multiply-accumulates and bytes of a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_macs(network: nn.Module, input_shape: Sequence[int]) -> int:
    """Return the multiply-accumulates of one call, on the device of the network's weights (`meta` computes nothing).

    Counted by `torch.utils.flop_counter`: convolutions and matrix products, attention's included; no normalisation,
    activation or resampling. One MAC is two of its FLOPs.
    """
    device = next(network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(*input_shape, device=device))
    return int(counter.get_total_flops()) // 2


class ByteCounter:
    """A file that counts what is written to it and keeps nothing."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, content: bytes) -> int:
        """Count the bytes."""
        self.bytes += len(content)
        return len(content)

    def flush(self) -> None:
        """Nothing to do."""


def count_weight_bytes(network: nn.Module) -> int:
    """Return the size of the weights as nnU-Net's checkpoints hold them (`network_weights`, written by `torch.save`).

    A training's checkpoint also holds the optimiser's state: as much again with SGD's momentum, twice with AdamW;
    SERNet's, by Muon for most weights, between them.
    For a network on the meta device: the tensors' bytes, without the few kB of file format.
    """
    if any(parameter.is_meta for parameter in network.parameters()):
        return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    counter = ByteCounter()
    torch.save({"network_weights": network.state_dict()}, counter)  # type: ignore[arg-type]
    return counter.bytes
