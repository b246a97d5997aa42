"""`ser-nnunet embed` computes in advance what a guided training would compute at its start."""

import json
import shutil
from pathlib import Path

import pytest

from ser_nnunet.cli import main
from ser_nnunet.sam.guide import SAMGuide
from ser_nnunet.training.cached_trainer import SERTrainerCached
from ser_nnunet.training.embed_dataset import EmbeddingRequest, embed_dataset
from tests.benchmark.conftest import preprocess_tiny
from tests.benchmark.tiny_dataset import NAME, write_plans


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """nnUNet_preprocessed with the tiny data set: five cases of three slices."""
    root = preprocess_tiny(tmp_path_factory.mktemp("preprocessed"))
    write_plans(root / NAME)
    return root


@pytest.fixture
def preprocessed(planned, tmp_path, monkeypatch):
    """A copy of it, named by nnUNet_preprocessed."""
    shutil.copytree(planned, tmp_path / "preprocessed")
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    return tmp_path / "preprocessed"


def test_every_slice_is_embedded_once_within_the_disk_s_share(preprocessed, sam_checkpoint, monkeypatch):
    encoded = []
    encode = SAMGuide.encode
    monkeypatch.setattr(
        SAMGuide, "encode", lambda self, image, *rest: encoded.append(image) or encode(self, image, *rest)
    )
    ten = 10 * 2 * 256 * 4 * 4 / 1e9  # GB of ten embeddings in float16: the dummy SAM's grid has 4 x 4 tokens
    for gigabytes, kept, computed in ((ten, 10, 10), (ten, 10, 0), (1.0, 15, 15), (ten, 10, 0)):
        encoded.clear()
        said = embed_dataset(EmbeddingRequest("1", "2d", "nnUNetPlans", "SERTrainerCached", gigabytes, "cpu"))
        assert said.startswith(f"{kept} slices of 5 cases") and len(encoded) == computed


def test_the_command_says_where_they_are(preprocessed, sam_checkpoint, capsys):
    assert main(["embed", "-d", "1", "-device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("15 slices of 5 cases") and len(said.splitlines()) == 1
    folder = Path(said.strip().rpartition(" in ")[2])
    assert folder.is_relative_to(preprocessed / NAME) and len(list(folder.glob("*.npy"))) == 5


def test_version_1_s_name_of_the_channels_is_read_as_nnunet_reads_it(preprocessed, sam_checkpoint, capsys):
    file = preprocessed / NAME / "dataset.json"
    described = json.loads(file.read_text())
    described["modality"] = described.pop("channel_names")
    file.write_text(json.dumps(described))
    assert main(["embed", "-d", "1", "-device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith("15 slices of 5 cases")


@pytest.mark.parametrize("ending", ["json", "npy"])
def test_a_case_whose_files_were_cut_off_is_embedded_again(preprocessed, sam_checkpoint, monkeypatch, ending):
    request = EmbeddingRequest("1", "2d", "nnUNetPlans", "SERTrainerCached", None, "cpu")
    folder = Path(embed_dataset(request).rpartition(" in ")[2])
    broken = sorted(folder.glob(f"*.{ending}"))[1]
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    encoded = []
    encode = SAMGuide.encode
    monkeypatch.setattr(
        SAMGuide, "encode", lambda self, image, *rest: encoded.append(image) or encode(self, image, *rest)
    )
    assert embed_dataset(request).startswith("15 slices of 5 cases")
    assert len(encoded) == 3 and broken.read_bytes() == whole


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-d", "1", "-tr", "SERTrainerNoSAM"], "isn't guided by kept embeddings: take SERTrainerCached"),
        (["-d", "1", "-tr", "SERTrainerCachd"], "no trainer SERTrainerCachd; similar ones are SERTrainerCached"),
        (["-d", "1", "-c", "3d_fullres"], "has no configuration 3d_fullres; it has 2d"),
        (["-d", "1", "-p", "Other"], "Other.json is missing: plan the data set"),
        (["-d", "7"], "Run  nnUNetv2_plan_and_preprocess -d 7"),
    ],
)
def test_what_is_missing_is_said(preprocessed, sam_checkpoint, capsys, arguments, expected):
    assert main(["embed", "-device", "cpu", *arguments]) == 2
    assert expected in capsys.readouterr().err


def test_a_3d_configuration_is_refused_with_the_reason(preprocessed, sam_checkpoint, capsys):
    file = preprocessed / NAME / "nnUNetPlans.json"
    plans = json.loads(file.read_text())
    plans["configurations"]["3d_fullres"] = plans["configurations"]["2d"] | {"patch_size": [3, 32, 32]}
    file.write_text(json.dumps(plans))
    assert main(["embed", "-d", "1", "-c", "3d_fullres"]) == 2
    assert "SERTrainerCached keeps SAM's embeddings of whole slices" in capsys.readouterr().err


def test_cases_of_an_earlier_nnunet_are_refused(preprocessed, sam_checkpoint, capsys):
    cases = preprocessed / NAME / "nnUNetPlans_2d"
    for file in cases.glob("*.b2nd"):
        file.rename(file.with_suffix(".npz"))
    assert main(["embed", "-d", "1", "-device", "cpu"]) == 2
    assert "nnUNetPlans_2d is in an earlier format of nnU-Net: preprocess again" in capsys.readouterr().err


def test_without_sam_it_says_which_variable_to_set(preprocessed, monkeypatch, capsys):
    monkeypatch.delenv("SER_SAM_CHECKPOINT", raising=False)
    assert main(["embed", "-d", "1"]) == 2
    assert "export SER_SAM_CHECKPOINT=" in capsys.readouterr().err


def test_a_fold_finds_what_was_embedded_for_all_cases(start, monkeypatch):
    """Also where the disk limits the slices: a fold has fewer cases than the data set."""
    seven = 7 * 2 * 256 * 4 * 4 / 1e9  # GB: one slice of each of five cases
    trainer = start(SERTrainerCached, sam_cache_gigabytes=seven)
    embed_dataset(EmbeddingRequest("1", "2d", "nnUNetPlans", "SERTrainerCached", seven, "cpu"))
    encoded = []
    monkeypatch.setattr(SAMGuide, "encode", lambda self, image, *rest: encoded.append(image))
    trainer.on_train_start()
    assert not encoded and [len(case.positions) for case in trainer.guidance.cached.kept] == [1] * 4


def test_no_training_folder_is_left_behind(preprocessed, sam_checkpoint, tmp_path):
    embed_dataset(EmbeddingRequest("1", "2d", "nnUNetPlans", "SERTrainerCached", None, "cpu"))
    assert not (tmp_path / "results").exists()
