"""Counts against numbers that can be worked out by hand, and against those of docs and papers."""

import json

import pandas as pd
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import nn

from ser_nnunet.benchmark.counting import count_macs, count_parameters, weights_bytes
from ser_nnunet.benchmark.forward_memory import forward_peak
from ser_nnunet.benchmark.systems import System, sam_architecture, systems_of
from ser_nnunet.cli import main
from ser_nnunet.nnunet.plans import Planned, count_calls
from ser_nnunet.sam.architecture import build
from tests.benchmark.conftest import DATASET_JSON, tiny_plans


def test_macs_of_a_convolution_and_a_linear_layer_are_the_textbooks():
    # 3x3 kernel, 2 -> 5 channels, 8 x 6 outputs; then 7 -> 4 features for 3 rows.
    assert count_macs(nn.Conv2d(2, 5, 3, padding=1), (1, 2, 8, 6)) == 9 * 2 * 5 * 8 * 6
    assert count_macs(nn.ConvTranspose2d(2, 5, 2, 2), (1, 2, 8, 6)) == 4 * 2 * 5 * 8 * 6
    assert count_macs(nn.Linear(7, 4), (3, 7)) == 7 * 4 * 3


def test_shared_weights_count_once():
    layer = nn.Linear(7, 4)
    assert count_parameters(nn.Sequential(layer, layer)) == 7 * 4 + 4


def test_weights_are_as_large_as_the_file_that_torch_writes(tmp_path):
    network = System("U-Net", "nnunet", Planned(tiny_plans(), "2d", DATASET_JSON)).build()
    torch.save({"network_weights": network.state_dict()}, tmp_path / "checkpoint.pth")
    # Not to the byte: the file's name stands in its archive's entries.
    assert weights_bytes(network) == pytest.approx((tmp_path / "checkpoint.pth").stat().st_size, rel=0.05)


@pytest.mark.parametrize(
    ("volume", "patch"),
    [((3, 32, 32), (32, 32)), ((5, 33, 70), (32, 32)), ((4, 20, 100), (32, 48)), ((40, 33, 65), (32, 32, 32))],
)
def test_calls_are_the_tiles_of_nnunets_predictor(volume, patch):
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.configuration_manager = type("Plan", (), {"patch_size": patch})
    padded = [max(edge, least) for edge, least in zip(volume[::-1], patch[::-1], strict=False)][::-1]
    image = (*volume[: len(volume) - len(patch)], *padded)
    assert count_calls(volume, patch) == len(predictor._internal_get_sliding_window_slicers(image))


def test_a_2d_plan_predicts_every_slice_of_the_median_volume():
    planned = Planned(tiny_plans(median=(50.0, 35.5), slices=36), "2d", DATASET_JSON)
    assert planned.volume == (36, 50, 36)
    assert planned.calls == 36 * 3 * 2  # 50 -> tiles at 0, 9, 18; 36 -> 0, 4
    assert planned.mirrored == 4


def test_every_system_takes_the_input_that_it_is_counted_with():
    planned = Planned(tiny_plans(), "2d", DATASET_JSON)
    for system in systems_of(planned, sam=False):
        network, shape = system.build(), system.input_shape
        with torch.no_grad():
            assert network(torch.zeros(shape)).shape == (1, 2, 32, 32)


def test_the_command_writes_both_tables_with_versions_and_ratios(tmp_path, capsys):
    plans = tmp_path / "nnUNetPlans.json"
    plans.write_text(json.dumps(tiny_plans()))
    (tmp_path / "dataset.json").write_text(json.dumps(DATASET_JSON))
    out = tmp_path / "out"
    assert main(["benchmark", "size", "-plans", str(plans), "--no-memory", "-device", "cpu", "-o", str(out)]) == 0
    table = pd.read_csv(out / "size.csv").set_index("system")
    ours, theirs = table.loc["SERNet light"], table.loc["nnU-Net"]
    assert ours["parameters_ratio"] == pytest.approx(ours["parameters"] / theirs["parameters"])
    assert theirs["calls"] == 3 and theirs["macs_volume_mirrored"] == 4 * 3 * theirs["macs_call"]
    assert table["torch"].unique().tolist() == [torch.__version__.split("+")[0]]
    page = (out / "size.md").read_text()
    assert "SAM ViT-H" in page and "| SERNet paper |" in page and "nnunetv2 " in page


def test_a_plan_without_the_configuration_is_told_by_name(tmp_path, capsys):
    plans = tmp_path / "nnUNetPlans.json"
    plans.write_text(json.dumps(tiny_plans()))
    (tmp_path / "dataset.json").write_text(json.dumps(DATASET_JSON))
    command = ["benchmark", "size", "-plans", str(plans), "-c", "3d_fullres", "-o", str(tmp_path / "out")]
    assert main(command) == 2
    assert "no configuration 3d_fullres: choose one of 2d" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_sam_and_prompt_learner_have_their_known_sizes():
    # Parameters in millions and GMACs of the encoder at 1024; a count of conv and linear layers is up to 1 % lower.
    known = {"ViT-B": (93.7, 484), "ViT-L": (312.3, 1488), "ViT-H": (641.1, 2973)}
    for size, (millions, giga) in known.items():
        with torch.device("meta"):
            sam = build(sam_architecture(size))
            assert count_parameters(sam) / 1e6 == pytest.approx(millions, abs=0.05)
            assert count_macs(sam.image_encoder, (1, 3, 1024, 1024)) / 1e9 == pytest.approx(giga, rel=0.01)
    with torch.device("meta"):
        paper = System("paper", "sernet", Planned(tiny_plans(patch=(512, 512)), "2d", DATASET_JSON), "paper").build()
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
    channels = {"channel_names": {"0": "T1", "1": "T2", "2": "FLAIR"}}
    system = System("U-Net", "nnunet", Planned(plans, "2d", DATASET_JSON | channels))
    with torch.device("meta"):
        network = system.build()
    assert count_parameters(network) / 1e6 == pytest.approx(33.5, abs=0.05)
    assert count_macs(network, system.input_shape) / 1e9 == pytest.approx(11.1, abs=0.05)


@pytest.mark.slow
def test_the_forward_peak_holds_the_largest_activations_and_not_the_interpreter():
    plans = tiny_plans(patch=(1024, 1024))
    peak = forward_peak(System("U-Net", "nnunet", Planned(plans, "2d", DATASET_JSON)))
    activation = 4 * 1024 * 1024 * 4  # bytes of the first stage's four channels
    assert 2 * activation < peak < 20 * activation
