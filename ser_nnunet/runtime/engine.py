"""Running an ONNX network with OpenVINO or ONNX Runtime, on the CPU or a GPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.requirements import ENGINES, available_engines

BATCH = "batch"
"""Name of the network's first axis, whose size is fixed when it is loaded."""

DEVICES = {"cpu": ENGINES, "cuda": ("onnxruntime",), "gpu": ("openvino",)}
"""Devices, and the engines that can use them: `cuda` is NVIDIA's (onnxruntime-gpu), `gpu` Intel's."""
CUDA = "CUDAExecutionProvider"
CUDA_SETTINGS = {"use_tf32": "0"}  # TensorFloat-32 has the precision of float16


class Network(Protocol):
    """A loaded network."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Return logits `(B, K, *patch)` for tiles `(B, C, *patch)`, both float32; valid until the next call."""
        ...


def load_network(
    onnx: bytes, batch_size: int, threads: int | None = None, engine: str | None = None, device: str = "cpu"
) -> Network:
    """Load a network.

    Args:
        onnx: the content of an ONNX file.
        batch_size: B, the number of tiles that every call gets.
        threads: on the CPU; every core by default.
        engine: `openvino` or `onnxruntime`; the first that is installed and knows the device by default.
        device: one of `DEVICES`.

    Raises:
        UserError: the engine isn't installed or unknown, or doesn't find the device.
    """
    loaders = {"openvino": _load_openvino, "onnxruntime": _load_onnxruntime}
    return loaders[choose_engine(engine, device)](onnx, batch_size, threads or _cores(), device)


def choose_engine(engine: str | None, device: str) -> str:
    """Return the engine that runs networks on a device; arguments and errors are those of `load_network`."""
    available, known = available_engines(), DEVICES[device]
    name = engine or next((each for each in available if each in known), known[0])
    if name not in known:
        raise UserError(f"device {device}: expected the engine {' or '.join(known)}, found {name}")
    if name not in available:
        raise UserError(f"engine {name}: expected one of {', '.join(available) or 'those of pip'}, install it with pip")
    if device == "gpu":
        import openvino

        found = openvino.Core().available_devices
        if not any(each.startswith("GPU") for each in found):
            raise UserError(f"device gpu: OpenVINO finds {', '.join(found)} here: use --device cpu")
    if device == "cuda":
        import onnxruntime

        _require_provider(CUDA, onnxruntime.get_available_providers())
    return name


def _require_provider(provider: str, found: Sequence[str]) -> None:
    if provider not in found:
        raise UserError(
            f"device cuda: {provider} expected, ONNX Runtime has {', '.join(found)} here: install onnxruntime-gpu and "
            "the CUDA libraries that it names, or use --device cpu"
        )


def _cores() -> int:
    """The cores that this process may use (a container or a batch system may allow fewer than there are)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _load_openvino(onnx: bytes, batch_size: int, threads: int, device: str) -> Network:
    import openvino

    core = openvino.Core()
    model = core.read_model(onnx)
    shape = model.input(0).partial_shape
    shape[0] = batch_size
    model.reshape(shape)
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",  # by default, some processors compute in bfloat16
        "PERFORMANCE_HINT": "LATENCY",  # one request at a time, on all threads
    }
    if device == "cpu":
        settings["INFERENCE_NUM_THREADS"] = threads
    request = core.compile_model(model, device.upper(), settings).create_infer_request()

    def run(batch: np.ndarray) -> np.ndarray:
        return cast(np.ndarray, request.infer([batch], share_inputs=True, share_outputs=True)[0])

    return run


def _load_onnxruntime(onnx: bytes, batch_size: int, threads: int, device: str) -> Network:
    import onnxruntime

    provider, settings = (CUDA, CUDA_SETTINGS) if device == "cuda" else ("CPUExecutionProvider", {})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    options.add_free_dimension_override_by_name(BATCH, batch_size)
    session: Any = onnxruntime.InferenceSession(onnx, options, providers=[(provider, settings)])
    _require_provider(provider, session.get_providers())  # without its libraries, ONNX Runtime falls back to the CPU
    name = session.get_inputs()[0].name

    def run(batch: np.ndarray) -> np.ndarray:
        return cast(np.ndarray, session.run(None, {name: batch})[0])

    return run
