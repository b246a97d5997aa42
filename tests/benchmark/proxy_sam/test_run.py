"""`benchmark proxy-sam` from the command to a checkpoint that the ordinary code loads."""

import csv
import json

import torch

from ser_nnunet.cli import main
from ser_nnunet.sam.checkpoint import load_sam
from tests.benchmark.tiny_dataset import CASES, NAME


def test_wrong_arguments_are_all_reported_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    (tmp_path / "Dataset001_Empty").mkdir()
    command = ["benchmark", "proxy-sam", "-d", "1", "--image-size", "100"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    for expected in ("--image-size", "nnUNetPlans.json is missing"):
        assert expected in message
    assert not (tmp_path / "out").exists()


def test_the_command_writes_a_checkpoint_that_guidance_loads_and_says_that_it_is_not_sam(
    planned_data, tmp_path, capsys
):
    command = ["benchmark", "proxy-sam", "-d", "1", "--steps", "6", "--image-size", "64", "-device", "cpu"]
    assert main([*command, "-o", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "This is NOT SAM" in output and f"export SER_SAM_CHECKPOINT={tmp_path / 'proxy_sam.pth'}" in output
    assert "mask and point: mean IoU" in output
    sam = load_sam(tmp_path / "proxy_sam.pth")
    with torch.no_grad():
        embedding = sam.image_encoder(sam.preprocess(torch.full((1, 3, 64, 64), 128.0)))
    assert embedding.shape == (1, 256, 4, 4) and embedding.isfinite().all()
    with (tmp_path / "proxy_sam.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["prompt"] for row in rows] == ["point", "points", "box", "mask", "mask and point", "point"]
    record = json.loads((tmp_path / "proxy_sam.json").read_text())
    assert record["images"] == {NAME: CASES[:4]}, "no validation case"
    assert "NOT SAM" in record["notice"] and record["steps"] == "6"
