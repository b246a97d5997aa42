"""Optional ImageNet weights for HarDNet, from a file."""

from __future__ import annotations

from pathlib import Path

import torch

from ser_nnunet.errors import UserError
from ser_nnunet.network.encoder import Encoder


def load_imagenet_weights(encoder: Encoder, path: str | Path) -> int:
    """Copy a published HarDNet checkpoint's weights into `encoder`, in order; return how many tensors were copied.

    A first convolution of another input depth gets the average over the checkpoint's input channels (as the reference
    does for one channel); tensors of stages that `encoder` leaves out are ignored. All tensors are checked before the
    first one is copied.

    Raises:
        UserError: the file is no checkpoint, or its tensors don't fit this variant.
    """
    targets = [(name, tensor) for name, tensor in encoder.state_dict().items() if tensor.is_floating_point()]
    sources = _read_tensors(path)
    if len(sources) < len(targets):
        raise UserError(
            f"{path} is no checkpoint of this HarDNet variant: {len(targets)} tensors expected, {len(sources)} found"
        )
    first = targets[0][1]
    if sources[0].ndim == first.ndim and sources[0].shape[1] != first.shape[1]:
        sources[0] = sources[0].mean(1, keepdim=True).expand(-1, first.shape[1], *sources[0].shape[2:])
    pairs = list(zip(targets, sources, strict=False))
    misfits = [f"{n}: {tuple(t.shape)} expected, {tuple(s.shape)} found" for (n, t), s in pairs if t.shape != s.shape]
    if misfits:
        raise UserError(f"{path} is no checkpoint of this HarDNet variant:\n  " + "\n  ".join(misfits[:5]))
    for (_, target), source in pairs:
        target.copy_(source)
    return len(pairs)


def _read_tensors(path: str | Path) -> list[torch.Tensor]:
    """Return the floating-point tensors of a state dict, in order."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path}: no readable PyTorch checkpoint ({error})") from error
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else {}
    return [value for value in state.values() if isinstance(value, torch.Tensor) and value.is_floating_point()]
