"""`benchmark proxy-sam` from the command to a checkpoint that the ordinary code loads."""

import csv
import json

import pytest
import torch

from ser_nnunet.benchmark.proxy_sam.training import build_proxy
from ser_nnunet.cli import main
from ser_nnunet.sam.checkpoint import load_sam
from tests.benchmark.tiny_dataset import CASES, NAME


def test_wrong_arguments_are_all_reported_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    (tmp_path / "Dataset001_Empty").mkdir()
    command = ["benchmark", "proxy-sam", "-d", "1", "--image-size", "100", "--train", "decoder"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    for expected in ("--image-size", "nnUNetPlans.json is missing", "--train decoder leaves the rest"):
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


@pytest.mark.parametrize(("part", "module"), [("decoder", "mask_decoder."), ("encoder", "image_encoder.")])
def test_one_part_of_a_checkpoint_is_trained_and_the_rest_stays_as_it_is(planned_data, tmp_path, capsys, part, module):
    before = build_proxy(64, seed=1).state_dict()
    torch.save(before, tmp_path / "trained.pth")
    command = ["benchmark", "proxy-sam", "-d", "1", "--steps", "5", "-device", "cpu", "-o", str(tmp_path)]
    assert main([*command, "--checkpoint", str(tmp_path / "trained.pth"), "--train", part]) == 0
    assert "trained.pth" in capsys.readouterr().out
    after = torch.load(tmp_path / "proxy_sam.pth", weights_only=True)
    changed = {name for name, weight in before.items() if not torch.equal(weight, after[name])}
    assert changed and all(name.startswith(module) for name in changed)
    record = json.loads((tmp_path / "proxy_sam.json").read_text())
    assert (record["image size"], record["trained"]) == ("64", part)
