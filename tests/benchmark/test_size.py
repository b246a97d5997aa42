"""`benchmark size` from the command to its tables."""

import pandas as pd
import pytest
import torch

from ser_nnunet.cli import main
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


def test_a_missing_configuration_is_reported_with_those_that_exist(tmp_path, capsys):
    plans = write_plans(tmp_path)
    command = ["benchmark", "size", "-plans", str(plans), "-c", "3d_fullres", "-o", str(tmp_path / "out")]
    assert main(command) == 2
    assert "no configuration 3d_fullres: choose one of 2d" in capsys.readouterr().err
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
