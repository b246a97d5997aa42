"""Loading any checkpoint of SAM's architecture as a frozen model whose sizes are read from the weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ser_nnunet.errors import UserError
from ser_nnunet.sam.architecture import SamArchitecture, Weights, build, read_architecture, resample
from ser_nnunet.utils.hashing import file_sha256

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

OFFICIAL_NAME = re.compile(r"sam_vit_[bhl]_([0-9a-f]{6})\.pth")  # the six digits begin the file's SHA-256
WHERE_TO_GET_IT = (
    "SAM's checkpoints: https://github.com/facebookresearch/segment-anything#model-checkpoints "
    "(ViT-B is sam_vit_b_01ec64.pth, 375 MB); MedSAM's: https://github.com/bowang-lab/MedSAM"
)


class CheckpointError(UserError):
    """A SAM checkpoint that can't be used; the message says why and what to do."""


def load_sam(path: str | Path, image_size: int | None = None) -> Sam:
    """Load a SAM for guidance: every size from the weights, frozen (no gradients, eval mode), on the CPU.

    Args:
        path: a state dict as `segment_anything` or MedSAM publish it, or one under the key `model` or `state_dict`.
        image_size: edge in pixels of SAM's input images; the checkpoint's own (1024) by default. Smaller is faster;
            position embeddings are interpolated.

    Raises:
        CheckpointError: missing, truncated or foreign file, a download that doesn't match its name, a bad image size,
            or segment-anything isn't installed.
    """
    weights, architecture = load_weights(path)
    if image_size is not None:
        patch_size = architecture.patch_size
        if image_size < patch_size or image_size % patch_size:
            raise CheckpointError(
                f"SAM's image size must be a multiple of its patch size {patch_size}, {image_size} given"
            )
        weights, architecture = resample(weights, architecture, image_size)
    sam = _build(architecture)
    _check_tensors(sam, weights, Path(path))
    sam.load_state_dict(weights)
    return freeze(sam)


def inspect_checkpoint(path: str | Path) -> tuple[SamArchitecture, int]:
    """Check a file as `load_sam` does, but on the meta device; return its sizes and its number of parameters."""
    weights, architecture = load_weights(path)
    with torch.device("meta"):
        _check_tensors(_build(architecture), weights, Path(path))
    return architecture, sum(weight.numel() for weight in weights.values())


def load_weights(path: str | Path) -> tuple[Weights, SamArchitecture]:
    """Read a checkpoint's state dict and sizes without building the model (errors as `load_sam`)."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise CheckpointError(f"SAM checkpoint {file}: no such file. {WHERE_TO_GET_IT}")
    _check_sha256(file)
    weights = _read_state_dict(file)
    try:
        return weights, read_architecture(weights)
    except KeyError as error:
        found = f"{len(weights)} tensors ({', '.join(list(weights)[:3])}, ...)" if weights else "no tensors"
        raise CheckpointError(
            f"{file} is no checkpoint of SAM's architecture: tensor {error} expected, {found} found "
            f"(SAM 2 and distilled or adapter variants have another architecture). {WHERE_TO_GET_IT}"
        ) from error


def freeze(sam: Sam) -> Sam:
    """Switch off the gradients of all parameters and set eval mode; return the same model."""
    for parameter in sam.parameters():
        parameter.requires_grad_(False)
    return sam.eval()


def _check_sha256(file: Path) -> None:
    """Refuse a file that has an official name but other content: training would run with damaged weights."""
    match = OFFICIAL_NAME.fullmatch(file.name)
    if match is None:
        return
    digest = file_sha256(file)
    if not digest.startswith(match[1]):
        raise CheckpointError(
            f"{file} isn't the official file: its SHA-256 begins with {digest[:6]}, {match[1]} expected "
            f"({file.stat().st_size / 1e6:.0f} MB). Download it again, or rename it if it is a checkpoint of your own"
        )


def _read_state_dict(file: Path) -> Weights:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{file} can't be read as a PyTorch checkpoint ({file.stat().st_size / 1e6:.1f} MB): {reason}. The "
            f"download may be truncated, or the file may hold pickled code, which is never run. {WHERE_TO_GET_IT}"
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise CheckpointError(f"{file}: a state dict expected, a {type(content).__name__} found. {WHERE_TO_GET_IT}")
    return {str(key).removeprefix("module."): value for key, value in content.items() if torch.is_tensor(value)}


def _build(architecture: SamArchitecture) -> Sam:
    try:
        return build(architecture)
    except ImportError as error:
        raise CheckpointError(f"{error}: install SAM's code with  pip install 'ser-nnunet[sam]'") from error


def _check_tensors(sam: Sam, weights: Weights, file: Path) -> None:
    """Raise a CheckpointError that lists tensors which are missing, unknown, of another shape or hold no numbers."""
    own = sam.state_dict()
    problems = [f"missing {key}" for key in own if key not in weights]
    problems += [f"unknown {key}" for key in weights if key not in own]
    problems += [
        f"{key}: shape {tuple(value.shape)} expected, {tuple(weights[key].shape)} found"
        for key, value in own.items()
        if key in weights and weights[key].shape != value.shape
    ]
    for key, value in weights.items():
        if not value.is_floating_point():
            problems.append(f"{key}: floating-point numbers expected, {value.dtype} found")
        elif bad := int((~torch.isfinite(value)).sum()):
            problems.append(f"{key}: {bad} of {value.numel()} numbers are NaN or Inf")
    if problems:
        listed = "\n  ".join(problems[:8]) + ("\n  ..." if len(problems) > 8 else "")
        raise CheckpointError(f"{file} doesn't fit SAM's architecture:\n  {listed}")
