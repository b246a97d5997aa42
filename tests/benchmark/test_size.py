"""`benchmark size` from the command to its tables."""

import json

import pandas as pd
import pytest
import torch

from ser_nnunet.benchmark.benchmark_settings import HypotheticalDataset
from ser_nnunet.benchmark.hypothetical_dataset import plan_hypothetical_dataset
from ser_nnunet.cli import main
from ser_nnunet.network.ser_net import architecture
from tests.benchmark.tiny_dataset import write_plans


def test_the_command_writes_both_tables_with_versions_and_ratios(tmp_path, capsys):
    plans = write_plans(tmp_path)
    out = tmp_path / "out"
    assert main(["benchmark", "size", "-plans", str(plans), "--no-memory", "-device", "cpu", "-o", str(out)]) == 0
    table = pd.read_csv(out / "size.csv").set_index("system")
    ours, theirs = table.loc["SERNet light"], table.loc["nnU-Net"]
    assert ours["parameters_ratio"] == pytest.approx(ours["parameters"] / theirs["parameters"])
    assert theirs["calls"] == 3 and theirs["macs_volume_mirrored"] == 4 * 3 * theirs["macs_call"]
    assert table["torch"].unique().tolist() == [torch.__version__.split("+")[0]]
    page = (out / "size.md").read_text()
    assert "SAM ViT-H" in page and "| SERNet paper |" in page and "nnunetv2 " in page
    assert page.count("| not measured | not measured |") == len(table) and "not defined" not in page


@pytest.mark.parametrize("command", ["size", "speed"])
def test_the_plans_of_a_trained_sernet_are_not_measured_as_nnunets(tmp_path, capsys, command):
    """SERTrainer writes its network into the plans.json of the model folder."""
    plans = write_plans(tmp_path)
    content = json.loads(plans.read_text())
    content["configurations"]["2d"]["architecture"] = architecture((32, 32), [], 1, "light")
    plans.write_text(json.dumps(content))
    where = ["-plans", str(plans), "-device", "cpu", "-o", str(tmp_path / "out")]
    assert main(["benchmark", command, *where]) == 2
    message = capsys.readouterr().err
    assert f"{plans}, 2d: network ser_nnunet.network.ser_net.SERNet" in message
    assert "nnUNet_preprocessed/Dataset001_Tiny/nnUNetPlans.json" in message and not (tmp_path / "out").exists()


def test_residual_plans_that_name_another_network_are_refused_too(tmp_path, capsys):
    plans = write_plans(tmp_path)
    content = json.loads(plans.read_text())
    content["configurations"]["2d"]["architecture"]["network_class_name"] = "somebodys.networks.UNet"
    (plans.parent / "nnUNetResEncUNetMPlans.json").write_text(json.dumps(content))
    assert main(["benchmark", "size", "-plans", str(plans), "-device", "cpu", "-o", str(tmp_path / "out")]) == 2
    assert "nnUNetResEncUNetMPlans.json, 2d: network somebodys.networks.UNet" in capsys.readouterr().err


def test_a_missing_configuration_is_reported_with_those_that_exist(tmp_path, capsys):
    plans = write_plans(tmp_path)
    command = ["benchmark", "size", "-plans", str(plans), "-c", "3d_fullres", "-o", str(tmp_path / "out")]
    assert main(command) == 2
    assert "no configuration 3d_fullres: it has 2d; plan it first" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_sam_is_refused(tmp_path, capsys):
    command = ["benchmark", "size", "-plans", str(write_plans(tmp_path)), "--sam-memory", "ViT-B", "ViT-S"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 2
    assert "ViT-S unknown; there are ViT-B, ViT-L, ViT-H" in capsys.readouterr().err


def test_a_shape_is_planned_by_nnunet_and_resenc_is_beside_it(tmp_path):
    shape = ["--shape", "64", "64", "32", "--channels", "2", "--classes", "3", "--volume", "10", "64", "64"]
    out = tmp_path / "out"
    assert main(["benchmark", "size", *shape, "--no-memory", "-device", "cpu", "-o", str(out)]) == 0
    table = pd.read_csv(out / "size.csv").set_index("system")
    assert table.index.tolist()[:4] == ["nnU-Net", "nnU-Net ResEnc-M", "nnU-Net ResEnc-L", "SERNet light"]
    assert table.loc["nnU-Net ResEnc-L", "parameters"] > table.loc["nnU-Net", "parameters"]
    assert table.index[4] == "SERNet paper"
    assert table.loc["SERNet light", "input"].startswith("2 x ")
    assert table.loc["prompt learner + SAM ViT-B", "calls"] == 10
    assert "channels 2, classes 3" in (out / "size.md").read_text()


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_a_shape_that_is_too_small_for_a_unet_is_refused(tmp_path, capsys, configuration):
    command = ["benchmark", "size", "--shape", "4", "4", "4", "-c", configuration, "--no-memory", "-device", "cpu"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "--shape 4 4 4 is too small" in message and "8 voxels" in message
    assert not (tmp_path / "out").exists()


def test_flat_images_that_are_too_small_for_2d_can_be_planned_in_3d():
    plans = plan_hypothetical_dataset(HypotheticalDataset((64, 4, 4)))
    assert all(list(each["configurations"]) == ["3d_fullres"] for each in (plans.default, *plans.resenc.values()))


@pytest.mark.parametrize(
    ("source", "option"),
    [
        ("-plans", ["--channels", "5", "--classes", "3"]),
        ("-plans", ["--spacing", "1", "1", "1"]),
        ("-plans", ["--cases", "100"]),
    ],
)
def test_options_of_a_shape_are_refused_beside_a_plan(tmp_path, capsys, source, option):
    command = [
        "benchmark",
        "size",
        source,
        str(write_plans(tmp_path)),
        *option,
        "--no-memory",
        "-o",
        str(tmp_path / "out"),
    ]
    assert main(command) == 2
    message = capsys.readouterr().err
    assert "belong to --shape" in message and all(each in message for each in option if each.startswith("--"))
    assert not (tmp_path / "out").exists()


def test_a_dataset_json_is_refused_beside_a_shape(tmp_path, capsys):
    dataset = write_plans(tmp_path).parent / "dataset.json"
    command = ["benchmark", "size", "--shape", "64", "64", "32", "--dataset-json", str(dataset), "-o", str(tmp_path)]
    assert main(command) == 2
    assert "--dataset-json belongs to -plans" in capsys.readouterr().err
