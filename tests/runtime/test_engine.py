"""Devices: what an engine doesn't find is said before anything is predicted; with CUDA, the CPU is no substitute."""

import sys
from types import SimpleNamespace

import pytest

from ser_nnunet.cli import main
from ser_nnunet.errors import UserError
from ser_nnunet.runtime import engine
from ser_nnunet.runtime.engine import choose_engine, load_network

PROVIDERS = ["CUDAExecutionProvider", "CPUExecutionProvider"]


class Session:
    """Of a fake ONNX Runtime: as the real one, it runs on the CPU if CUDA's libraries are missing."""

    working = True

    def __init__(self, onnx, options, providers):
        self.chosen = providers

    def get_providers(self):
        return PROVIDERS if self.working else PROVIDERS[1:]

    def get_inputs(self):
        return [SimpleNamespace(name="image")]

    def run(self, outputs, inputs):
        return [self.chosen]


class Options:
    def add_free_dimension_override_by_name(self, name, size):
        pass


@pytest.fixture
def cuda(monkeypatch):
    fake = SimpleNamespace(
        InferenceSession=Session,
        SessionOptions=Options,
        get_available_providers=lambda: list(PROVIDERS),
        __spec__=object(),
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.setattr(engine, "available_engines", lambda: ("openvino", "onnxruntime"))


def test_cuda_is_onnxruntimes_in_float32(cuda):
    assert choose_engine(None, "cuda") == "onnxruntime" and choose_engine(None, "cpu") == "openvino"
    assert load_network(b"", 1, device="cuda")(None) == [("CUDAExecutionProvider", {"use_tf32": "0"})]


def test_falling_back_to_the_cpu_is_refused(cuda, monkeypatch):
    monkeypatch.setattr(Session, "working", False)
    with pytest.raises(UserError, match="CUDAExecutionProvider expected, ONNX Runtime has CPUExecutionProvider here"):
        load_network(b"", 1, device="cuda")


def test_engines_without_the_device_are_named(cuda):
    with pytest.raises(UserError, match="device cuda: expected the engine onnxruntime, found openvino"):
        choose_engine("openvino", "cuda")


def test_the_command_says_which_providers_there_are(cuda, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.modules["onnxruntime"], "get_available_providers", lambda: ["CPUExecutionProvider"])
    command = ["predict", "-m", "absent.pyz", "-i", str(tmp_path), "-o", str(tmp_path / "out"), "--device", "cuda"]
    assert main(command) == 2
    assert "ONNX Runtime has CPUExecutionProvider here: install onnxruntime-gpu" in capsys.readouterr().err


def test_intels_gpu_is_openvinos(monkeypatch):
    fake = SimpleNamespace(Core=lambda: SimpleNamespace(available_devices=["CPU"]))
    monkeypatch.setitem(sys.modules, "openvino", fake)
    monkeypatch.setattr(engine, "available_engines", lambda: ("openvino",))
    with pytest.raises(UserError, match="device gpu: OpenVINO finds CPU here: use --device cpu"):
        choose_engine(None, "gpu")
