"""torch.compile with code generation, as nnU-Net uses it on GPUs; here for the CPU, where it needs a C++ compiler."""

import copy
import os
import shutil
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ser_nnunet.network import ser_net
from ser_nnunet.network.hardnet import HarDNetConfig

# Each generated kernel takes the compiler one to two seconds: the whole of `light` would take minutes.
STEM = HarDNetConfig((4, 8), (), 1.0, (), (), (), depthwise=True, full_resolution_stem=True)


@pytest.fixture
def stem_network(monkeypatch, tmp_path):
    """A 3D SERNet of the stem's two stages, whose prompt has stride 2, and the detail aggregator."""
    if not shutil.which(os.environ.get("CXX", "g++")):
        pytest.skip("no C++ compiler (g++, or the one that CXX names)")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        pytest.skip("no header files of Python")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    light = ser_net.PRESETS["light"]
    settings = {"encoder_settings": {"config": STEM}, "changes": {}, "prompt_level": 1, "max_feature_maps": 2}
    monkeypatch.setitem(ser_net.PRESETS, "stem", replace(light, **settings))
    torch.manual_seed(0)
    return ser_net.SERNet(1, 2, (4, 8, 8), preset="stem")


@pytest.mark.slow
def test_generated_code_computes_the_same_in_both_phases_and_in_eval(stem_network):
    eager, patch = copy.deepcopy(stem_network), torch.randn(2, 1, 4, 8, 8)
    torch.compiler.reset()  # sizes that other tests compiled would make this network's sizes variable
    compiled = torch.compile(stem_network, fullgraph=True)
    for detach in (True, False):
        outputs = [network(patch, detach_prompt=detach) for network in (compiled, eager)]
        for found, expected in zip(*outputs, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        for network, (logits, prompt) in zip((stem_network, eager), outputs, strict=True):
            network.zero_grad()
            (logits.square().mean() + prompt.square().mean()).backward()
        for parameter, expected in zip(stem_network.parameters(), eager.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, expected.grad, atol=1e-4, rtol=1e-3)
    stem_network.eval(), eager.eval()
    with torch.no_grad():
        torch.testing.assert_close(compiled(patch), eager(patch), atol=1e-4, rtol=1e-4)
