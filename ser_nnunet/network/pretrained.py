"""ImageNet weights for HarDNet from a file: an option, never a requirement."""

from __future__ import annotations

from pathlib import Path

import torch

from ser_nnunet.errors import UserError
from ser_nnunet.network.hardnet import HarDNet


def load_imagenet_weights(encoder: HarDNet, path: str | Path) -> int:
    """Copy a published HarDNet checkpoint's weights into `encoder`, in order; return how many tensors were copied.

    A first convolution of another input depth gets the average over the checkpoint's input channels (as the reference
    does for one channel); tensors of stages that `encoder` leaves out are ignored. All tensors are checked before the
    first one is copied.

    Raises:
        UserError: the file is no checkpoint, or its tensors don't fit this variant.
    """
    own = [(name, tensor) for name, tensor in encoder.state_dict().items() if tensor.is_floating_point()]
    foreign = _tensors(path)
    if len(foreign) < len(own):
        raise UserError(
            f"{path}: {len(foreign)} tensors, this HarDNet has {len(own)}: not a checkpoint of this variant"
        )
    foreign[0] = _averaged(foreign[0], own[0][1])
    pairs = list(zip(own, foreign, strict=False))
    misfits = [f"{n}: {tuple(t.shape)} expected, {tuple(f.shape)} found" for (n, t), f in pairs if t.shape != f.shape]
    if misfits:
        raise UserError(f"{path} is no checkpoint of this HarDNet variant:\n  " + "\n  ".join(misfits[:5]))
    for (_, target), source in pairs:
        target.copy_(source)
    return len(pairs)


def _averaged(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if source.ndim != target.ndim or source.shape[1] == target.shape[1]:
        return source
    return source.mean(1, keepdim=True).expand(-1, target.shape[1], *source.shape[2:])


def _tensors(path: str | Path) -> list[torch.Tensor]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path}: no readable PyTorch checkpoint ({error})") from error
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else {}
    return [value for value in state.values() if isinstance(value, torch.Tensor) and value.is_floating_point()]
