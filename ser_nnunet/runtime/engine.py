"""Running an ONNX network on the CPU, with OpenVINO or ONNX Runtime."""

from __future__ import annotations

import os
from typing import Any, Protocol, cast

import numpy as np

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.requirements import ENGINES, available_engines

BATCH = "batch"
"""Name of the network's first axis, whose size is fixed when it is loaded."""


class Network(Protocol):
    """A loaded network."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Return logits `(B, K, *patch)` for tiles `(B, C, *patch)`, both float32; valid until the next call."""
        ...


def load_network(onnx: bytes, batch_size: int, threads: int | None = None, engine: str | None = None) -> Network:
    """Load a network.

    Args:
        onnx: the content of an ONNX file.
        batch_size: B, the number of tiles that every call gets.
        threads: on the CPU; every core by default.
        engine: `openvino` or `onnxruntime`; the first that is installed by default.

    Raises:
        UserError: the engine isn't installed or unknown.
    """
    available = available_engines()
    name = engine or (available or ENGINES)[0]
    if name not in available:
        raise UserError(f"engine {name}: expected one of {', '.join(available) or 'those of pip'}, install it with pip")
    loaders = {"openvino": _load_openvino, "onnxruntime": _load_onnxruntime}
    return loaders[name](onnx, batch_size, threads or _cores())


def _cores() -> int:
    """The cores that this process may use (a container or a batch system may allow fewer than there are)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _load_openvino(onnx: bytes, batch_size: int, threads: int) -> Network:
    import openvino

    core = openvino.Core()
    model = core.read_model(onnx)
    shape = model.input(0).partial_shape
    shape[0] = batch_size
    model.reshape(shape)
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # by default, some processors compute in bfloat16
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",  # one request at a time, on all threads
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(batch: np.ndarray) -> np.ndarray:
        return cast(np.ndarray, request.infer([batch], share_inputs=True, share_outputs=True)[0])

    return run


def _load_onnxruntime(onnx: bytes, batch_size: int, threads: int) -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    options.add_free_dimension_override_by_name(BATCH, batch_size)
    session: Any = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(batch: np.ndarray) -> np.ndarray:
        return cast(np.ndarray, session.run(None, {name: batch})[0])

    return run
