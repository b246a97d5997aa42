"""Networks as ONNX, checked against torch."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.engine import BATCH, load_network
from ser_nnunet.runtime.recipe import Recipe
from ser_nnunet.runtime.sliding_window import batch_size

OPSET = 17  # of 2022: every ONNX Runtime since 1.12 and OpenVINO since 2023 read it
TOLERANCE = 1e-3
"""Largest difference to torch's logits, as a part of the largest one."""


def to_onnx(network: torch.nn.Module, recipe: Recipe) -> bytes:
    """Return a network in eval mode as an ONNX file, with tiles of the plan's patch and batches of any size.

    Batch normalisation is folded into the convolutions.
    """
    tiles = torch.zeros(2, len(recipe.channels), *recipe.patch_size)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        file = Path(folder) / "network.onnx"
        warnings.simplefilter("ignore")  # the exporter's on itself, and on sizes that are constant here
        torch.onnx.export(
            network,
            (tiles,),
            file,
            opset_version=OPSET,
            dynamo=False,  # the newer exporter needs onnxscript
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: BATCH}, "logits": {0: BATCH}},
        )
        return file.read_bytes()


def check_onnx(onnx: bytes, network: torch.nn.Module, recipe: Recipe, engine: str | None = None) -> float:
    """Return the largest difference between the engine's and torch's logits, as a part of the largest logit.

    Tiles are of normally distributed noise, in batches as prediction uses them.

    Raises:
        UserError: it exceeds `TOLERANCE`.
    """
    size = batch_size(recipe.patch_size)
    shape = (size, len(recipe.channels), *recipe.patch_size)
    tiles = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    found = load_network(onnx, size, engine=engine)(tiles)
    with torch.inference_mode():
        expected = network(torch.from_numpy(tiles)).numpy()
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"the exported network's logits differ from torch's by {difference:.2g} of the largest, "
            f"at most {TOLERANCE:g} expected: the network has operations that ONNX's export changes"
        )
    return difference
