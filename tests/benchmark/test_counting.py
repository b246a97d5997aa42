"""Counts against numbers that can be worked out by hand, and against those of docs and papers."""

import pytest
import torch
from torch import nn

from ser_nnunet.benchmark.counting import count_macs, count_weight_bytes
from ser_nnunet.benchmark.systems import System, make_sam_architecture
from ser_nnunet.network.layers import count_parameters
from ser_nnunet.sam.architecture import build
from tests.benchmark.tiny_dataset import tiny_configuration, tiny_plans


def test_macs_match_a_count_by_hand():
    # 3x3 kernel, 2 -> 5 channels, 8 x 6 outputs; then 7 -> 4 features for 3 rows.
    assert count_macs(nn.Conv2d(2, 5, 3, padding=1), (1, 2, 8, 6)) == 9 * 2 * 5 * 8 * 6
    assert count_macs(nn.ConvTranspose2d(2, 5, 2, 2), (1, 2, 8, 6)) == 4 * 2 * 5 * 8 * 6
    assert count_macs(nn.Linear(7, 4), (3, 7)) == 7 * 4 * 3


def test_shared_weights_count_once():
    layer = nn.Linear(7, 4)
    assert count_parameters(nn.Sequential(layer, layer)) == 7 * 4 + 4


def test_weights_are_as_large_as_the_file_that_torch_writes(tmp_path):
    network = System("U-Net", "nnunet", tiny_configuration()).build()
    torch.save({"network_weights": network.state_dict()}, tmp_path / "checkpoint.pth")
    # Not to the byte: the file's name stands in its archive's entries.
    assert count_weight_bytes(network) == pytest.approx((tmp_path / "checkpoint.pth").stat().st_size, rel=0.05)


@pytest.mark.slow
def test_sam_and_prompt_learner_have_their_known_sizes():
    # Parameters in millions and GMACs of the encoder at 1024; a count of conv and linear layers is up to 1 % lower.
    known = {"ViT-B": (93.7, 484), "ViT-L": (312.3, 1488), "ViT-H": (641.1, 2973)}
    for size, (millions, giga) in known.items():
        with torch.device("meta"):
            sam = build(make_sam_architecture(size))
            assert count_parameters(sam) / 1e6 == pytest.approx(millions, abs=0.05)
            assert count_macs(sam.image_encoder, (1, 3, 1024, 1024)) / 1e9 == pytest.approx(giga, rel=0.01)
    with torch.device("meta"):
        paper = System("paper", "sernet", tiny_configuration(tiny_plans(patch=(512, 512))), "paper").build()
        assert count_macs(paper, (1, 1, 512, 512)) / 1e9 == pytest.approx(96.9, abs=0.05)


def test_nnunets_seven_stages_have_their_known_size():
    plans = tiny_plans(patch=(256, 192))
    kwargs = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]
    kwargs |= {
        "n_stages": 7,
        "features_per_stage": [32, 64, 128, 256, 512, 512, 512],
        "kernel_sizes": [[3, 3]] * 7,
        "strides": [[1, 1]] + [[2, 2]] * 6,
        "n_conv_per_stage": [2] * 7,
        "n_conv_per_stage_decoder": [2] * 6,
    }
    channels = {"0": "T1", "1": "T2", "2": "FLAIR"}
    system = System("U-Net", "nnunet", tiny_configuration(plans, channel_names=channels))
    with torch.device("meta"):
        network = system.build()
    assert count_parameters(network) / 1e6 == pytest.approx(33.5, abs=0.05)
    assert count_macs(network, system.input_shape) / 1e9 == pytest.approx(11.1, abs=0.05)
