"""Threads and cudnn's mode, as nnU-Net's commands set them."""

import pytest
import torch

from ser_nnunet.benchmark import device
from ser_nnunet.benchmark.device import count_threads, count_training_threads, use_device


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(device, "usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_the_cpu_has_all_cores_and_a_gpu_one_thread_unless_a_number_is_given(eight_cores):
    assert [count_threads(name) for name in ("cpu", "cuda", "mps")] == [8, 1, 1]
    assert [count_threads(name, 3) for name in ("cpu", "cuda")] == [3, 3]


@pytest.mark.parametrize(("variable", "threads"), [("2", 2), ("", 8), ("0", 8), ("2,1", 8)])
def test_a_training_on_the_cpu_takes_omp_num_threads(eight_cores, monkeypatch, variable, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert count_training_threads("cpu") == threads
    assert count_training_threads("cuda") == 1


@pytest.mark.parametrize(("name", "searches"), [("cuda", True), ("cpu", False)])
def test_cudnn_searches_for_the_fastest_algorithms_on_a_gpu_alone(monkeypatch, name, searches):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    before = torch.get_num_threads()
    try:
        use_device(name, 1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert torch.backends.cudnn.benchmark is searches
    assert torch.backends.cudnn.deterministic is not searches
